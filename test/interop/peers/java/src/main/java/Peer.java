import com.amazonaws.auth.AWSStaticCredentialsProvider;
import com.amazonaws.auth.BasicAWSCredentials;
import com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration;
import com.amazonaws.services.kms.AWSKMS;
import com.amazonaws.services.kms.AWSKMSClientBuilder;
import com.amazonaws.services.s3.AmazonS3;
import com.amazonaws.services.s3.AmazonS3EncryptionClientBuilder;
import com.amazonaws.services.s3.AmazonS3EncryptionClientV2Builder;
import com.amazonaws.services.s3.model.CryptoConfiguration;
import com.amazonaws.services.s3.model.CryptoConfigurationV2;
import com.amazonaws.services.s3.model.CryptoMode;
import com.amazonaws.services.s3.model.CryptoStorageMode;
import com.amazonaws.services.s3.model.EncryptionMaterials;
import com.amazonaws.services.s3.model.EncryptionMaterialsProvider;
import com.amazonaws.services.s3.model.KMSEncryptionMaterials;
import com.amazonaws.services.s3.model.KMSEncryptionMaterialsProvider;
import com.amazonaws.services.s3.model.StaticEncryptionMaterialsProvider;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.PrivateKey;
import java.security.interfaces.RSAPrivateCrtKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.RSAPublicKeySpec;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import javax.crypto.SecretKey;
import javax.crypto.spec.SecretKeySpec;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.core.sync.ResponseTransformer;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.awssdk.services.s3.S3AsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.encryption.s3.CommitmentPolicy;
import software.amazon.encryption.s3.S3EncryptionClient;
import software.amazon.encryption.s3.algorithms.AlgorithmSuite;
import software.amazon.encryption.s3.internal.InstructionFileConfig;
import software.amazon.encryption.s3.internal.ReEncryptInstructionFileRequest;
import software.amazon.encryption.s3.materials.AesKeyring;
import software.amazon.encryption.s3.materials.KmsKeyring;
import software.amazon.encryption.s3.materials.MaterialsDescription;
import software.amazon.encryption.s3.materials.PartialRsaKeyPair;
import software.amazon.encryption.s3.materials.RawKeyring;
import software.amazon.encryption.s3.materials.RsaKeyring;

/** Amazon's S3 Encryption Clients for Java behind one line of JSON for each question and answer. */
public final class Peer {
  private static final Map<String, S3EncryptionClient> CLIENTS = new HashMap<>();
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final URI S3 = URI.create(System.getenv("AWS_ENDPOINT_URL_S3"));
  private static final URI KMS = URI.create(System.getenv("AWS_ENDPOINT_URL_KMS"));
  private static final String REGION = System.getenv("AWS_REGION");

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      Map<String, Object> answer = new HashMap<>();
      try {
        ask(JSON.readTree(line), answer);
      } catch (Throwable error) {
        StringBuilder text = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause())
          text.append(cause.getClass().getSimpleName()).append(": ").append(cause.getMessage()).append("; ");
        answer.put("error", text.toString());
      }
      System.out.println(JSON.writeValueAsString(answer));
      System.out.flush();
    }
    System.exit(0);
  }

  private static void ask(JsonNode question, Map<String, Object> answer) throws Exception {
    switch (question.get("op").asText()) {
      case "put" -> put(question);
      case "get" -> get(question);
      case "legacyPut" -> legacyPut(question);
      case "reEncrypt" -> reEncrypt(question);
      case "usage" -> {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        answer.put("cpu", system.getProcessCpuTime() / 1e9);
      }
      default -> throw new IllegalArgumentException("operation");
    }
  }

  // Closing a client takes seconds, so there is one for each configuration.
  private static S3EncryptionClient client(JsonNode question) throws Exception {
    StringBuilder name = new StringBuilder();
    for (String field : new String[] {"suite", "policy", "material", "legacy", "delayed", "instructionFile"})
      name.append(question.path(field)).append(' ');
    S3EncryptionClient known = CLIENTS.get(name.toString());
    if (known != null) return known;
    S3EncryptionClient made = makeClient(question);
    CLIENTS.put(name.toString(), made);
    return made;
  }

  private static S3EncryptionClient makeClient(JsonNode question) throws Exception {
    S3Client plain = S3Client.builder().endpointOverride(S3).forcePathStyle(true).build();
    S3AsyncClient async = S3AsyncClient.builder().endpointOverride(S3).forcePathStyle(true).build();
    var files = InstructionFileConfig.builder()
        .instructionFileClient(plain)
        .enableInstructionFilePutObject(question.path("instructionFile").asBoolean());
    var builder = S3EncryptionClient.builderV4()
        .wrappedClient(plain)
        .wrappedAsyncClient(async)
        .instructionFileConfig(files.build())
        .enableDelayedAuthenticationMode(question.path("delayed").asBoolean())
        .enableLegacyWrappingAlgorithms(question.path("legacy").asBoolean())
        .enableLegacyUnauthenticatedModes(question.path("legacy").asBoolean())
        .commitmentPolicy(CommitmentPolicy.valueOf(question.get("policy").asText()))
        .encryptionAlgorithm(
            question.get("suite").asText().equals("v2")
                ? AlgorithmSuite.ALG_AES_256_GCM_IV12_TAG16_NO_KDF
                : AlgorithmSuite.ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY);
    JsonNode material = question.get("material");
    boolean legacy = question.path("legacy").asBoolean();
    if (material.get("kind").asText().equals("kms")) {
      KmsClient kms = KmsClient.builder().endpointOverride(KMS).build();
      String keyId = material.get("keyId").asText();
      builder.keyring(KmsKeyring.builder().kmsClient(kms).wrappingKeyId(keyId).enableLegacyWrappingAlgorithms(legacy).build());
    } else builder.keyring(rawKeyring(material, legacy));
    return builder.build();
  }

  private static RawKeyring rawKeyring(JsonNode material, boolean legacy) throws Exception {
    var description = MaterialsDescription.builder().putAll(mapOf(material.path("description"))).build();
    if (material.get("kind").asText().equals("aes"))
      return AesKeyring.builder().wrappingKey(aes(material)).materialsDescription(description).enableLegacyWrappingAlgorithms(legacy).build();
    KeyPair pair = rsa(material);
    return RsaKeyring.builder()
        .wrappingKeyPair(PartialRsaKeyPair.builder().publicKey(pair.getPublic()).privateKey(pair.getPrivate()).build())
        .materialsDescription(description)
        .enableLegacyWrappingAlgorithms(legacy)
        .build();
  }

  private static void put(JsonNode question) throws Exception {
    client(question)
        .putObject(
            request -> {
              request.bucket(question.get("bucket").asText()).key(question.get("key").asText());
              if (question.has("context"))
                request.overrideConfiguration(S3EncryptionClient.withAdditionalConfiguration(mapOf(question.get("context"))));
            },
            RequestBody.fromFile(Path.of(question.get("file").asText())));
  }

  private static void get(JsonNode question) throws Exception {
    Path file = Path.of(question.get("file").asText());
    Files.deleteIfExists(file);
    client(question)
        .getObject(
            request -> {
              request.bucket(question.get("bucket").asText()).key(question.get("key").asText());
              if (question.has("range")) request.range(question.get("range").asText());
              if (question.has("suffix"))
                request.overrideConfiguration(S3EncryptionClient.withCustomInstructionFileSuffix(question.get("suffix").asText()));
              else if (question.has("context"))
                request.overrideConfiguration(S3EncryptionClient.withAdditionalConfiguration(mapOf(question.get("context"))));
            },
            ResponseTransformer.toFile(file));
  }

  private static void reEncrypt(JsonNode question) throws Exception {
    var request = ReEncryptInstructionFileRequest.builder()
        .bucket(question.get("bucket").asText())
        .key(question.get("key").asText())
        .enforceRotation(true)
        .newKeyring(rawKeyring(question.get("newMaterial"), false));
    if (question.has("suffix")) request.instructionFileSuffix(question.get("suffix").asText());
    client(question).reEncryptInstructionFile(request.build());
  }

  // The clients of SDK 1: generation 1 (CBC, or GCM with unauthenticated wraps) and generation 2.
  private static void legacyPut(JsonNode question) throws Exception {
    var credentials =
        new AWSStaticCredentialsProvider(
            new BasicAWSCredentials(
                System.getenv("AWS_ACCESS_KEY_ID"), System.getenv("AWS_SECRET_ACCESS_KEY")));
    var endpoint = new EndpointConfiguration(S3.toString(), REGION);
    CryptoMode mode = CryptoMode.valueOf(question.get("mode").asText());
    CryptoStorageMode storage =
        question.path("instructionFile").asBoolean() ? CryptoStorageMode.InstructionFile : CryptoStorageMode.ObjectMetadata;
    JsonNode material = question.get("material");
    AWSKMS kms = AWSKMSClientBuilder.standard()
        .withCredentials(credentials)
        .withEndpointConfiguration(new EndpointConfiguration(KMS.toString(), REGION))
        .build();
    EncryptionMaterialsProvider provider = switch (material.get("kind").asText()) {
      case "aes" -> new StaticEncryptionMaterialsProvider(new EncryptionMaterials(aes(material)));
      case "rsa" -> new StaticEncryptionMaterialsProvider(new EncryptionMaterials(rsa(material)));
      default -> new KMSEncryptionMaterialsProvider(new KMSEncryptionMaterials(material.get("keyId").asText()));
    };
    AmazonS3 client = question.get("generation").asInt() == 1
        ? AmazonS3EncryptionClientBuilder.standard()
            .withCredentials(credentials)
            .withEndpointConfiguration(endpoint)
            .withPathStyleAccessEnabled(true)
            .withKmsClient(kms)
            .withEncryptionMaterials(provider)
            .withCryptoConfiguration(new CryptoConfiguration(mode).withStorageMode(storage))
            .build()
        : AmazonS3EncryptionClientV2Builder.standard()
            .withCredentials(credentials)
            .withEndpointConfiguration(endpoint)
            .withPathStyleAccessEnabled(true)
            .withKmsClient(kms)
            .withEncryptionMaterialsProvider(provider)
            .withCryptoConfiguration(new CryptoConfigurationV2(mode).withStorageMode(storage))
            .build();
    client.putObject(question.get("bucket").asText(), question.get("key").asText(), new File(question.get("file").asText()));
  }

  private static SecretKey aes(JsonNode material) {
    return new SecretKeySpec(Base64.getDecoder().decode(material.get("key").asText()), "AES");
  }

  private static KeyPair rsa(JsonNode material) throws Exception {
    KeyFactory factory = KeyFactory.getInstance("RSA");
    PrivateKey privateKey = factory.generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(material.get("pkcs8").asText())));
    RSAPrivateCrtKey parts = (RSAPrivateCrtKey) privateKey;
    return new KeyPair(factory.generatePublic(new RSAPublicKeySpec(parts.getModulus(), parts.getPublicExponent())), privateKey);
  }

  private static Map<String, String> mapOf(JsonNode node) {
    Map<String, String> map = new HashMap<>();
    node.properties().forEach(entry -> map.put(entry.getKey(), entry.getValue().asText()));
    return map;
  }
}
