"""AWS's Encryption SDK for Python behind one line of JSON for each question and answer."""
import base64
import functools
import hashlib
import json
import sys

import aws_encryption_sdk
from aws_encryption_sdk import CommitmentPolicy
from aws_encryption_sdk.identifiers import Algorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from frameseal_test_keys import raw_provider


@functools.cache
def provider(keys):
    """One provider for all keys, which are JSON; the first generates. Kept, since one of KMS takes long to make."""
    providers = []
    for key in json.loads(keys):
        if key["kind"] == "kms":
            made = aws_encryption_sdk.StrictAwsKmsMasterKeyProvider(key_ids=key["keyIds"])
        else:
            made = raw_provider(key)
            made.add_master_key(key["name"])
        providers.append(made)
    for other in providers[1:]:
        providers[0].add_master_key_provider(other)
    return providers[0]


def client(question):
    return aws_encryption_sdk.EncryptionSDKClient(commitment_policy=CommitmentPolicy[question["policy"]])


def encrypt(question):
    result, _ = client(question).encrypt(
        source=base64.b64decode(question["plaintext"]),
        key_provider=provider(json.dumps(question["keys"])),
        algorithm=Algorithm.get_by_id(question["suite"]),
        encryption_context=question["context"],
        frame_length=question["frameLength"],
    )
    return {"message": base64.b64encode(result).decode()}


def decrypt(question):
    result, header = client(question).decrypt(
        source=base64.b64decode(question["message"]), key_provider=provider(json.dumps(question["keys"]))
    )
    return {"plaintext": base64.b64encode(result).decode(), "context": header.encryption_context}


def sse_c(question):
    """HKDF as of RFC 5869, from the description in the README."""

    def prefixed(text):
        return len(text.encode()).to_bytes(2, "big") + text.encode()

    info = b"frameseal/sse-c/1" + prefixed(question["bucket"]) + prefixed(question["key"])
    info += question["masterKeyVersion"].to_bytes(4, "big")
    salt = bytes.fromhex(question["salt"])
    derived = HKDF(hashes.SHA512(), 32, salt, info).derive(bytes.fromhex(question["masterKey"]))
    digest = base64.b64encode(hashlib.md5(derived).digest()).decode()
    return {"sseCKey": derived.hex(), "md5": digest}


def version(_):
    return {"version": aws_encryption_sdk.identifiers.__version__}


OPERATIONS = {"encrypt": encrypt, "decrypt": decrypt, "sse-c": sse_c, "version": version}

for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = OPERATIONS[asked["operation"]](asked)
    except Exception as error:  # every failure is an answer, the test judges it
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
