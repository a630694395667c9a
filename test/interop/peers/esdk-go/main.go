// AWS's Encryption SDK for Go behind one line of JSON for each question and answer.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	mpl "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygenerated"
	mpltypes "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
	esdk "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygenerated"
	esdktypes "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygeneratedtypes"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// Key is raw AES, raw RSA in PEM, or one or more keys of KMS. Bytes are base64.
type Key struct {
	Kind, Namespace, Name, Padding, PrivateKey, PublicKey string
	Key                                                   []byte
	KeyIds                                                []string
}

type Question struct {
	Operation, Policy  string
	Suite              int
	FrameLength        int64
	Context            map[string]string
	Plaintext, Message []byte
	Keys               []Key
}

type Answer struct {
	Version   string            `json:"version,omitempty"`
	Message   []byte            `json:"message,omitempty"`
	Plaintext []byte            `json:"plaintext"`
	Context   map[string]string `json:"context,omitempty"`
	Error     string            `json:"error,omitempty"`
}

var aesWrapping = map[int]mpltypes.AesWrappingAlg{
	16: mpltypes.AesWrappingAlgAlgAes128GcmIv12Tag16,
	24: mpltypes.AesWrappingAlgAlgAes192GcmIv12Tag16,
	32: mpltypes.AesWrappingAlgAlgAes256GcmIv12Tag16,
}

var rsaPadding = map[string]mpltypes.PaddingScheme{
	"PKCS1":        mpltypes.PaddingSchemePkcs1,
	"OAEP-SHA-1":   mpltypes.PaddingSchemeOaepSha1Mgf1,
	"OAEP-SHA-256": mpltypes.PaddingSchemeOaepSha256Mgf1,
	"OAEP-SHA-384": mpltypes.PaddingSchemeOaepSha384Mgf1,
	"OAEP-SHA-512": mpltypes.PaddingSchemeOaepSha512Mgf1,
}

type peer struct {
	providers *mpl.Client
	kms       *kms.Client
}

func (p *peer) keyrings(ctx context.Context, key Key) ([]mpltypes.IKeyring, error) {
	switch key.Kind {
	case "aes":
		keyring, err := p.providers.CreateRawAesKeyring(ctx, mpltypes.CreateRawAesKeyringInput{
			KeyNamespace: key.Namespace,
			KeyName:      key.Name,
			WrappingAlg:  aesWrapping[len(key.Key)],
			WrappingKey:  key.Key,
		})
		return []mpltypes.IKeyring{keyring}, err
	case "rsa":
		keyring, err := p.providers.CreateRawRsaKeyring(ctx, mpltypes.CreateRawRsaKeyringInput{
			KeyNamespace:  key.Namespace,
			KeyName:       key.Name,
			PaddingScheme: rsaPadding[key.Padding],
			PrivateKey:    []byte(key.PrivateKey),
			PublicKey:     []byte(key.PublicKey),
		})
		return []mpltypes.IKeyring{keyring}, err
	}
	var all []mpltypes.IKeyring
	for _, id := range key.KeyIds {
		keyring, err := p.providers.CreateAwsKmsKeyring(ctx, mpltypes.CreateAwsKmsKeyringInput{KmsClient: p.kms, KmsKeyId: id})
		if err != nil {
			return nil, err
		}
		all = append(all, keyring)
	}
	return all, nil
}

// The first key generates, the others wrap.
func (p *peer) keyring(ctx context.Context, keys []Key) (mpltypes.IKeyring, error) {
	var all []mpltypes.IKeyring
	for _, key := range keys {
		keyrings, err := p.keyrings(ctx, key)
		if err != nil {
			return nil, err
		}
		all = append(all, keyrings...)
	}
	return p.providers.CreateMultiKeyring(ctx, mpltypes.CreateMultiKeyringInput{Generator: all[0], ChildKeyrings: all[1:]})
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk" {
			return module.Version
		}
	}
	return "unknown"
}

func (p *peer) answer(ctx context.Context, q Question) (result Answer, err error) {
	defer func() { // the SDK panics on what its types do not allow
		if reason := recover(); reason != nil {
			err = fmt.Errorf("panic: %v", reason)
		}
	}()
	if q.Operation == "version" {
		return Answer{Version: version()}, nil
	}
	policy := mpltypes.ESDKCommitmentPolicy(q.Policy)
	client, err := esdk.NewClient(esdktypes.AwsEncryptionSdkConfig{CommitmentPolicy: &policy})
	if err != nil {
		return
	}
	keyring, err := p.keyring(ctx, q.Keys)
	if err != nil {
		return
	}
	if q.Operation == "encrypt" {
		suite := mpltypes.ESDKAlgorithmSuiteId(fmt.Sprintf("0x%04x", q.Suite))
		output, err := client.Encrypt(ctx, esdktypes.EncryptInput{
			Plaintext:         q.Plaintext,
			AlgorithmSuiteId:  &suite,
			EncryptionContext: q.Context,
			FrameLength:       &q.FrameLength,
			Keyring:           keyring,
		})
		if err != nil {
			return Answer{}, err
		}
		return Answer{Message: output.Ciphertext}, nil
	}
	output, err := client.Decrypt(ctx, esdktypes.DecryptInput{Ciphertext: q.Message, Keyring: keyring})
	if err != nil {
		return Answer{}, err
	}
	return Answer{Plaintext: output.Plaintext, Context: output.EncryptionContext}, nil
}

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx) // takes AWS_ENDPOINT_URL_KMS
	if err != nil {
		panic(err)
	}
	providers, err := mpl.NewClient(mpltypes.MaterialProvidersConfig{})
	if err != nil {
		panic(err)
	}
	p := &peer{providers: providers, kms: kms.NewFromConfig(cfg)}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	for lines.Scan() {
		var q Question
		var result Answer
		err := json.Unmarshal(lines.Bytes(), &q)
		if err == nil {
			result, err = p.answer(ctx, q)
		}
		if err != nil {
			result = Answer{Error: err.Error()}
		}
		text, _ := json.Marshal(result)
		fmt.Println(string(text))
	}
}
