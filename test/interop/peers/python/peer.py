"""Amazon's S3 Encryption Client for Python behind one line of JSON for each question and answer."""
import json
import os
import sys

import boto3
from botocore.config import Config
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring
from s3_encryption.materials.materials import AlgorithmSuite, CommitmentPolicy

SUITES = {
    "v2": AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF,
    "v3": AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
}
kms = boto3.client("kms")
clients = {}


def client(question):
    """One for each configuration: each needs an S3 client of its own, on which it leaves its hooks."""
    name = json.dumps([question.get(field) for field in ("suite", "policy", "material", "legacy", "delayed")])
    if name not in clients:
        clients[name] = make_client(question)
    return clients[name]


def make_client(question):
    keyring = KmsKeyring(
        kms,
        question["material"]["keyId"],
        enable_legacy_wrapping_algorithms=question.get("legacy", False),
    )
    config = S3EncryptionClientConfig(
        keyring=keyring,
        encryption_algorithm=SUITES[question["suite"]],
        commitment_policy=CommitmentPolicy[question["policy"]],
        enable_legacy_unauthenticated_modes=question.get("legacy", False),
        enable_delayed_authentication=question.get("delayed", False),
    )
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    return S3EncryptionClient(s3, config)


def target(question):
    context = question.get("context") or {}
    named = {"EncryptionContext": context} if context else {}
    return {"Bucket": question["bucket"], "Key": question["key"], **named}


def put(question):
    with open(question["file"], "rb") as file:
        if question.get("multipart"):
            client(question).upload_fileobj(
                file, question["bucket"], question["key"], **({"EncryptionContext": question["context"]} if question.get("context") else {})
            )
        else:
            client(question).put_object(Body=file.read(), **target(question))
    return {}


def get(question):
    body = client(question).get_object(**target(question))["Body"]
    with open(question["file"], "wb") as file:
        while True:
            chunk = body.read(1 << 20)
            if not chunk:
                return {}
            file.write(chunk)


def usage(_):
    times = os.times()
    return {"cpu": times.user + times.system}


operations = {"put": put, "get": get, "usage": usage}
for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = operations[question["op"]](question)
    except Exception as error:  # told to the other side
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
