"""Raw keys for AWS's Python SDK and its command line, described in JSON. The command line finds this module through the
entry point beside it: provider=frameseal-test-keys key=NAME file=KEY.json"""
import base64
import json

from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

WRAPPING = {
    ("aes", 16): WrappingAlgorithm.AES_128_GCM_IV12_TAG16_NO_PADDING,
    ("aes", 24): WrappingAlgorithm.AES_192_GCM_IV12_TAG16_NO_PADDING,
    ("aes", 32): WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
    ("rsa", "PKCS1"): WrappingAlgorithm.RSA_PKCS1,
    ("rsa", "OAEP-SHA-1"): WrappingAlgorithm.RSA_OAEP_SHA1_MGF1,
    ("rsa", "OAEP-SHA-256"): WrappingAlgorithm.RSA_OAEP_SHA256_MGF1,
    ("rsa", "OAEP-SHA-384"): WrappingAlgorithm.RSA_OAEP_SHA384_MGF1,
    ("rsa", "OAEP-SHA-512"): WrappingAlgorithm.RSA_OAEP_SHA512_MGF1,
}


def wrapping_key(key):
    """key: {kind: aes, key} in base64, or {kind: rsa, padding, privateKey} in PEM."""
    if key["kind"] == "aes":
        secret = base64.b64decode(key["key"])
        algorithm, kind = WRAPPING["aes", len(secret)], EncryptionKeyType.SYMMETRIC
    else:
        secret = key["privateKey"].encode()
        algorithm, kind = WRAPPING["rsa", key["padding"]], EncryptionKeyType.PRIVATE
    return WrappingKey(wrapping_algorithm=algorithm, wrapping_key=secret, wrapping_key_type=kind)


def raw_provider(key):
    """A provider for one key, which also needs `namespace` and `name`."""

    class Provider(RawMasterKeyProvider):
        provider_id = key["namespace"]

        def _get_raw_key(self, key_id):
            return wrapping_key(key)

    return Provider()


def provider_from_file(**options):
    """For the command line, which adds the key by the name it is given."""
    with open(options["file"][0], encoding="utf-8") as file:
        return raw_provider(json.load(file))
