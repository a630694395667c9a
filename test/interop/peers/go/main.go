// Amazon's S3 Encryption Client for Go behind one line of JSON for each question and answer.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/aws/amazon-s3-encryption-client-go/v4/algorithms"
	"github.com/aws/amazon-s3-encryption-client-go/v4/client"
	"github.com/aws/amazon-s3-encryption-client-go/v4/commitment"
	"github.com/aws/amazon-s3-encryption-client-go/v4/materials"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

type question struct {
	Op, Bucket, Key, File, Suite, Policy string
	Material                             struct{ KeyId string }
	Context                              map[string]string
	Legacy                               bool
}

var policies = map[string]commitment.CommitmentPolicy{
	"FORBID_ENCRYPT_ALLOW_DECRYPT":    commitment.FORBID_ENCRYPT_ALLOW_DECRYPT,
	"REQUIRE_ENCRYPT_ALLOW_DECRYPT":   commitment.REQUIRE_ENCRYPT_ALLOW_DECRYPT,
	"REQUIRE_ENCRYPT_REQUIRE_DECRYPT": commitment.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
}

func endpoint(address string) aws.EndpointResolverWithOptionsFunc {
	return func(service, region string, _ ...interface{}) (aws.Endpoint, error) {
		url := address
		if service == kms.ServiceID {
			url = os.Getenv("AWS_ENDPOINT_URL_KMS")
		}
		return aws.Endpoint{URL: url, HostnameImmutable: true, SigningRegion: region}, nil
	}
}

func answer(ctx context.Context, cfg aws.Config, q question) error {
	keyring := materials.NewKmsKeyring(kms.NewFromConfig(cfg), q.Material.KeyId, func(o *materials.KeyringOptions) {
		o.EnableLegacyWrappingAlgorithms = q.Legacy
	})
	cmm, err := materials.NewCryptographicMaterialsManager(keyring)
	if err != nil {
		return err
	}
	suite := algorithms.AlgAES256GCMHkdfSha512CommitKey
	if q.Suite == "v2" {
		suite = algorithms.AlgAES256GCMIV12Tag16NoKDF
	}
	plain := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	encrypting, err := client.New(plain, cmm, func(o *client.EncryptionClientOptions) {
		o.CommitmentPolicy = policies[q.Policy]
		o.EncryptionAlgorithmSuite = suite
		o.EnableLegacyUnauthenticatedModes = q.Legacy
		o.BufferSize = 1 << 28
	})
	if err != nil {
		return err
	}
	if len(q.Context) > 0 {
		ctx = context.WithValue(ctx, client.EncryptionContext, q.Context)
	}
	if q.Op == "put" {
		body, err := os.ReadFile(q.File)
		if err != nil {
			return err
		}
		_, err = encrypting.PutObject(ctx, &s3.PutObjectInput{Bucket: &q.Bucket, Key: &q.Key, Body: bytes.NewReader(body)})
		return err
	}
	output, err := encrypting.GetObject(ctx, &s3.GetObjectInput{Bucket: &q.Bucket, Key: &q.Key})
	if err != nil {
		return err
	}
	defer output.Body.Close()
	file, err := os.Create(q.File)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, output.Body)
	return err
}

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithEndpointResolverWithOptions(endpoint(os.Getenv("AWS_ENDPOINT_URL_S3"))))
	if err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var q question
		result := map[string]string{}
		err := json.Unmarshal(lines.Bytes(), &q)
		if err == nil {
			err = answer(ctx, cfg, q)
		}
		if err != nil {
			result["error"] = err.Error()
		}
		text, _ := json.Marshal(result)
		fmt.Println(string(text))
	}
}
