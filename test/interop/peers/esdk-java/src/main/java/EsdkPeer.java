import com.amazonaws.encryptionsdk.AwsCrypto;
import com.amazonaws.encryptionsdk.CommitmentPolicy;
import com.amazonaws.encryptionsdk.CryptoAlgorithm;
import com.amazonaws.encryptionsdk.internal.VersionInfo;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import software.amazon.awssdk.services.kms.KmsClient;
import software.amazon.cryptography.materialproviders.IKeyring;
import software.amazon.cryptography.materialproviders.MaterialProviders;
import software.amazon.cryptography.materialproviders.model.AesWrappingAlg;
import software.amazon.cryptography.materialproviders.model.CreateAwsKmsKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateMultiKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateRawAesKeyringInput;
import software.amazon.cryptography.materialproviders.model.CreateRawRsaKeyringInput;
import software.amazon.cryptography.materialproviders.model.MaterialProvidersConfig;
import software.amazon.cryptography.materialproviders.model.PaddingScheme;

/** AWS's Encryption SDK for Java behind one line of JSON for each question and answer. */
public final class EsdkPeer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final MaterialProviders PROVIDERS =
      MaterialProviders.builder().MaterialProvidersConfig(MaterialProvidersConfig.builder().build()).build();
  private static final KmsClient KMS =
      KmsClient.builder().endpointOverride(URI.create(System.getenv("AWS_ENDPOINT_URL_KMS"))).build();
  private static final Map<Integer, AesWrappingAlg> AES_WRAPPING =
      Map.of(
          16, AesWrappingAlg.ALG_AES128_GCM_IV12_TAG16,
          24, AesWrappingAlg.ALG_AES192_GCM_IV12_TAG16,
          32, AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16);
  private static final Map<String, PaddingScheme> RSA_PADDING =
      Map.of(
          "PKCS1", PaddingScheme.PKCS1,
          "OAEP-SHA-1", PaddingScheme.OAEP_SHA1_MGF1,
          "OAEP-SHA-256", PaddingScheme.OAEP_SHA256_MGF1,
          "OAEP-SHA-384", PaddingScheme.OAEP_SHA384_MGF1,
          "OAEP-SHA-512", PaddingScheme.OAEP_SHA512_MGF1);

  public static void main(String[] args) throws Exception {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      Map<String, Object> answer;
      try {
        answer = answer(JSON.readTree(line));
      } catch (Exception error) { // told to the other side
        answer = Map.of("error", error.toString());
      }
      out.println(JSON.writeValueAsString(answer));
    }
  }

  private static Map<String, Object> answer(JsonNode question) throws Exception {
    return switch (question.get("operation").asText()) {
      case "version" -> Map.of("version", VersionInfo.versionNumber());
      case "encrypt" -> {
        var crypto =
            client(question)
                .withEncryptionAlgorithm(suite(question.get("suite").asInt()))
                .withEncryptionFrameSize(question.get("frameLength").asInt())
                .build();
        var result =
            crypto.encryptData(
                keyring(question), question.get("plaintext").binaryValue(), mapOf(question.get("context")));
        yield Map.of("message", result.getResult());
      }
      case "decrypt" -> {
        var result = client(question).build().decryptData(keyring(question), question.get("message").binaryValue());
        yield Map.of("plaintext", result.getResult(), "context", result.getEncryptionContext());
      }
      default -> throw new IllegalArgumentException("unknown operation");
    };
  }

  private static AwsCrypto.Builder client(JsonNode question) {
    CommitmentPolicy policy =
        switch (question.get("policy").asText()) {
          case "FORBID_ENCRYPT_ALLOW_DECRYPT" -> CommitmentPolicy.ForbidEncryptAllowDecrypt;
          case "REQUIRE_ENCRYPT_ALLOW_DECRYPT" -> CommitmentPolicy.RequireEncryptAllowDecrypt;
          default -> CommitmentPolicy.RequireEncryptRequireDecrypt;
        };
    return AwsCrypto.builder().withCommitmentPolicy(policy);
  }

  private static CryptoAlgorithm suite(int id) {
    return Stream.of(CryptoAlgorithm.values()).filter(suite -> suite.getValue() == id).findFirst().orElseThrow();
  }

  /** The first key generates, the others wrap. */
  private static IKeyring keyring(JsonNode question) throws Exception {
    List<IKeyring> all = new ArrayList<>();
    for (JsonNode key : question.get("keys")) add(all, key);
    return PROVIDERS.CreateMultiKeyring(
        CreateMultiKeyringInput.builder().generator(all.get(0)).childKeyrings(all.subList(1, all.size())).build());
  }

  private static void add(List<IKeyring> all, JsonNode key) throws Exception {
    switch (key.get("kind").asText()) {
      case "aes" -> {
        byte[] secret = key.get("key").binaryValue();
        all.add(
            PROVIDERS.CreateRawAesKeyring(
                CreateRawAesKeyringInput.builder()
                    .keyNamespace(key.get("namespace").asText())
                    .keyName(key.get("name").asText())
                    .wrappingAlg(AES_WRAPPING.get(secret.length))
                    .wrappingKey(ByteBuffer.wrap(secret))
                    .build()));
      }
      case "rsa" ->
          all.add(
              PROVIDERS.CreateRawRsaKeyring(
                  CreateRawRsaKeyringInput.builder()
                      .keyNamespace(key.get("namespace").asText())
                      .keyName(key.get("name").asText())
                      .paddingScheme(RSA_PADDING.get(key.get("padding").asText()))
                      .privateKey(StandardCharsets.UTF_8.encode(key.get("privateKey").asText()))
                      .publicKey(StandardCharsets.UTF_8.encode(key.get("publicKey").asText()))
                      .build()));
      default -> {
        for (JsonNode id : key.get("keyIds"))
          all.add(
              PROVIDERS.CreateAwsKmsKeyring(
                  CreateAwsKmsKeyringInput.builder().kmsClient(KMS).kmsKeyId(id.asText()).build()));
      }
    }
  }

  private static Map<String, String> mapOf(JsonNode node) {
    Map<String, String> map = new HashMap<>();
    node.properties().forEach(entry -> map.put(entry.getKey(), entry.getValue().asText()));
    return map;
  }
}
