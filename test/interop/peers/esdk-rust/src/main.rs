//! AWS's Encryption SDK for Rust behind one line of JSON for each question and answer.
use aws_esdk::material_providers::client::Client as Providers;
use aws_esdk::material_providers::types::keyring::KeyringRef;
use aws_esdk::material_providers::types::material_providers_config::MaterialProvidersConfig;
use aws_esdk::material_providers::types::{
    AesWrappingAlg, EsdkAlgorithmSuiteId, EsdkCommitmentPolicy, PaddingScheme,
};
use aws_esdk::types::aws_encryption_sdk_config::AwsEncryptionSdkConfig;
use aws_smithy_types::{Blob, base64};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, stdin};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The version that Cargo.lock pins.
fn version() -> &'static str {
    let (_, after) = include_str!("../Cargo.lock").split_once("name = \"aws-esdk\"\nversion = \"").unwrap();
    after.split('"').next().unwrap()
}

fn text<'a>(object: &'a Value, field: &str) -> Outcome<&'a str> {
    object[field].as_str().ok_or_else(|| format!("{field} is no text").into())
}

fn bytes(object: &Value, field: &str) -> Outcome<Vec<u8>> {
    Ok(base64::decode(text(object, field)?)?)
}

fn suite(id: u64) -> Outcome<EsdkAlgorithmSuiteId> {
    use EsdkAlgorithmSuiteId::*;
    Ok(match id {
        0x0014 => AlgAes128GcmIv12Tag16NoKdf,
        0x0046 => AlgAes192GcmIv12Tag16NoKdf,
        0x0078 => AlgAes256GcmIv12Tag16NoKdf,
        0x0114 => AlgAes128GcmIv12Tag16HkdfSha256,
        0x0146 => AlgAes192GcmIv12Tag16HkdfSha256,
        0x0178 => AlgAes256GcmIv12Tag16HkdfSha256,
        0x0214 => AlgAes128GcmIv12Tag16HkdfSha256EcdsaP256,
        0x0346 => AlgAes192GcmIv12Tag16HkdfSha384EcdsaP384,
        0x0378 => AlgAes256GcmIv12Tag16HkdfSha384EcdsaP384,
        0x0478 => AlgAes256GcmHkdfSha512CommitKey,
        0x0578 => AlgAes256GcmHkdfSha512CommitKeyEcdsaP384,
        _ => return Err("unknown suite".into()),
    })
}

fn policy(name: &str) -> EsdkCommitmentPolicy {
    match name {
        "FORBID_ENCRYPT_ALLOW_DECRYPT" => EsdkCommitmentPolicy::ForbidEncryptAllowDecrypt,
        "REQUIRE_ENCRYPT_ALLOW_DECRYPT" => EsdkCommitmentPolicy::RequireEncryptAllowDecrypt,
        _ => EsdkCommitmentPolicy::RequireEncryptRequireDecrypt,
    }
}

fn padding(name: &str) -> Outcome<PaddingScheme> {
    Ok(match name {
        "PKCS1" => PaddingScheme::Pkcs1,
        "OAEP-SHA-1" => PaddingScheme::OaepSha1Mgf1,
        "OAEP-SHA-256" => PaddingScheme::OaepSha256Mgf1,
        "OAEP-SHA-384" => PaddingScheme::OaepSha384Mgf1,
        "OAEP-SHA-512" => PaddingScheme::OaepSha512Mgf1,
        _ => return Err("unknown padding".into()),
    })
}

struct Peer {
    providers: Providers,
    kms: aws_sdk_kms::Client,
}

impl Peer {
    async fn keyrings(&self, key: &Value) -> Outcome<Vec<KeyringRef>> {
        match text(key, "kind")? {
            "aes" => {
                let secret = bytes(key, "key")?;
                let algorithm = match secret.len() {
                    16 => AesWrappingAlg::AlgAes128GcmIv12Tag16,
                    24 => AesWrappingAlg::AlgAes192GcmIv12Tag16,
                    _ => AesWrappingAlg::AlgAes256GcmIv12Tag16,
                };
                let keyring = self
                    .providers
                    .create_raw_aes_keyring()
                    .key_namespace(text(key, "namespace")?)
                    .key_name(text(key, "name")?)
                    .wrapping_key(secret)
                    .wrapping_alg(algorithm);
                Ok(vec![keyring.send().await?])
            }
            "rsa" => {
                let keyring = self
                    .providers
                    .create_raw_rsa_keyring()
                    .key_namespace(text(key, "namespace")?)
                    .key_name(text(key, "name")?)
                    .padding_scheme(padding(text(key, "padding")?)?)
                    .private_key(text(key, "privateKey")?.as_bytes())
                    .public_key(text(key, "publicKey")?.as_bytes());
                Ok(vec![keyring.send().await?])
            }
            _ => {
                let mut all = Vec::new();
                for id in key["keyIds"].as_array().ok_or("keyIds is no list")? {
                    let id = id.as_str().ok_or("a key id is no text")?;
                    let keyring =
                        self.providers.create_aws_kms_keyring().kms_client(self.kms.clone()).kms_key_id(id);
                    all.push(keyring.send().await?);
                }
                Ok(all)
            }
        }
    }

    /// The first key generates, the others wrap.
    async fn keyring(&self, question: &Value) -> Outcome<KeyringRef> {
        let mut all = Vec::new();
        for key in question["keys"].as_array().ok_or("keys is no list")? {
            all.extend(self.keyrings(key).await?);
        }
        let generator = all.remove(0);
        Ok(self.providers.create_multi_keyring().generator(generator).child_keyrings(all).send().await?)
    }

    async fn answer(&self, line: &str) -> Outcome<Value> {
        let question: Value = serde_json::from_str(line)?;
        let operation = text(&question, "operation")?;
        if operation == "version" {
            return Ok(json!({ "version": version() }));
        }
        let config = AwsEncryptionSdkConfig::builder().commitment_policy(policy(text(&question, "policy")?));
        let client = aws_esdk::Client::from_conf(config.build()?)?;
        let keyring = self.keyring(&question).await?;
        if operation == "encrypt" {
            let context: HashMap<String, String> = serde_json::from_value(question["context"].clone())?;
            let output = client
                .encrypt()
                .plaintext(bytes(&question, "plaintext")?)
                .algorithm_suite_id(suite(question["suite"].as_u64().unwrap_or(0))?)
                .encryption_context(context)
                .frame_length(question["frameLength"].as_i64().ok_or("frameLength is no number")?)
                .keyring(keyring)
                .send()
                .await?;
            let message = output.ciphertext.unwrap_or(Blob::new(Vec::new()));
            return Ok(json!({ "message": base64::encode(message) }));
        }
        let output = client.decrypt().ciphertext(bytes(&question, "message")?).keyring(keyring).send().await?;
        let plaintext = output.plaintext.unwrap_or(Blob::new(Vec::new()));
        Ok(json!({ "plaintext": base64::encode(plaintext), "context": output.encryption_context }))
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Outcome<()> {
    // Takes AWS_ENDPOINT_URL_KMS.
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let peer = Peer {
        providers: Providers::from_conf(MaterialProvidersConfig::builder().build()?)?,
        kms: aws_sdk_kms::Client::new(&config),
    };
    for line in stdin().lock().lines() {
        let answer = peer.answer(&line?).await;
        println!("{}", answer.unwrap_or_else(|error| json!({ "error": format!("{error:?}") })));
    }
    Ok(())
}
