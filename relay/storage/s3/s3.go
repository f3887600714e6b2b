// Package s3 keeps documents in a bucket of S3 or of a compatible store, which must
// obey If-Match and If-None-Match: one object per document, at storage.Key below a
// prefix, with what the store knows of it in the object's metadata.
//
// A version is the object's ETag and its generation. Most ETags are a hash of the
// body, so that a document that is deleted and brought back byte by byte has its old
// one again: a write that expects a version therefore looks at the object first,
// which also spares it the upload when it would be refused anyway. The condition
// that decides is the request's.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Config says which bucket, and how it is reached. Credentials come from where the
// AWS SDK finds them: environment, shared files, web identity, ECS, EC2, SSO.
type Config struct {
	Bucket    string
	Prefix    string // in front of all keys, without slashes at its ends; may be empty
	Endpoint  string // of a compatible store; empty is AWS
	Region    string // empty is what the SDK finds, or us-east-1 with an Endpoint
	Profile   string // of the shared configuration files
	RoleARN   string // assumed with the credentials found
	PathStyle bool   // the bucket in the path instead of the host name
	SSE       string // server-side encryption: "AES256", "aws:kms", "aws:kms:dsse"; empty is the bucket's
	KMSKey    string // for SSE by a key of KMS
	// Versions is how long former bodies are kept, see storage.Versioned; 0: none are,
	// but by the bucket's own versioning.
	Versions time.Duration
}

// Store is a bucket. It implements storage.Store and storage.Versioned.
type Store struct {
	client *s3.Client
	http   *http.Client
	c      Config
}

// Reads are tried twice, soon: whoever waits for a document gets a quick answer, and
// asks again by itself.
const (
	readAttempts = 2
	readBackoff  = 200 * time.Millisecond
)

// Open reads the configuration. It asks nothing of the store: storage.Check does.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Bucket == "" {
		return nil, errors.New("open S3 store: expected a bucket")
	}
	if len(c.Prefix) > storage.MaxPrefix || c.Prefix != strings.Trim(c.Prefix, "/") {
		return nil, fmt.Errorf("open S3 store: prefix %q: expected at most %d bytes without slashes at its ends", c.Prefix, storage.MaxPrefix)
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient()), // which takes AWS_CA_BUNDLE
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = readAttempts, readBackoff })
		}),
		// Checksums that the SDK adds by itself since 2025 break compatible stores.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open S3 store: %w", err)
	}
	if loaded.Region == "" {
		if c.Endpoint == "" {
			return nil, errors.New("open S3 store: expected a region")
		}
		loaded.Region = "us-east-1"
	}
	// A client whose idle connections can be closed.
	transport := loaded.HTTPClient.(*awshttp.BuildableClient).GetTransport()
	transport.MaxIdleConnsPerHost = 32
	httpClient := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	loaded.HTTPClient = httpClient
	if c.RoleARN != "" {
		loaded.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(loaded), c.RoleARN))
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.UsePathStyle = c.PathStyle
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	})
	return &Store{client: client, http: httpClient, c: c}, nil
}

// Close closes idle connections.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

func (s *Store) key(key string) *string {
	if s.c.Prefix != "" {
		key = s.c.Prefix + "/" + key
	}
	return &key
}

// Save implements storage.Store.
func (s *Store) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if err := storage.CheckSave(d, body); err != nil {
		return storage.Absent, err
	}
	v, err := s.put(ctx, d, expect, storage.Described(m, body), body)
	return v, failed("save", d, err)
}

// Delete implements storage.Store: a tombstone is an object of 0 bytes.
func (s *Store) Delete(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta) (storage.Version, error) {
	v, err := s.put(ctx, d, expect, storage.Described(m, nil), nil)
	return v, failed("delete", d, err)
}

func failed(what string, d docid.Document, err error) error {
	if err == nil || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrDeleted) || errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, d, err)
}

// put writes an object once: a repetition could meet its own success.
func (s *Store) put(ctx context.Context, d docid.Document, expect storage.Version, info storage.Info, body []byte) (storage.Version, error) {
	in := &s3.PutObjectInput{
		Bucket: &s.c.Bucket, Key: s.key(storage.Key(d)),
		Body: newBody(body), ContentLength: aws.Int64(int64(len(body))), ContentType: aws.String("application/octet-stream"),
		Metadata: metadata(d, info),
	}
	if expect == storage.Absent {
		in.IfNoneMatch = aws.String("*")
	} else {
		// See the package's comment.
		current, err := s.current(ctx, d)
		if err != nil {
			return storage.Absent, err
		}
		if current.Version != expect {
			return storage.Absent, storage.Mismatch(d, current)
		}
		if s.c.Versions > 0 && storage.Due(d, current, info) {
			if err := s.keep(ctx, d, current); err != nil {
				return storage.Absent, fmt.Errorf("keep the version before: %w", err)
			}
		}
		in.IfMatch = aws.String(etagOf(expect))
	}
	if s.c.SSE != "" {
		in.ServerSideEncryption = types.ServerSideEncryption(s.c.SSE)
	}
	if s.c.KMSKey != "" {
		in.SSEKMSKeyId = &s.c.KMSKey
	}
	out, err := s.client.PutObject(ctx, in, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} }, hashed(info.SHA256))
	if isConflict(err) {
		current, statErr := s.current(ctx, d)
		if statErr != nil {
			return storage.Absent, fmt.Errorf("it met another version, which cannot be read: %w", statErr)
		}
		return storage.Absent, storage.Mismatch(d, current)
	}
	if err != nil {
		return storage.Absent, classify(err)
	}
	if aws.ToString(out.ETag) == "" {
		return storage.Absent, fmt.Errorf("%w: no ETag was answered", storage.ErrUnconditional)
	}
	return version(out.ETag, info.Generation), nil
}

// hashed gives a request the hash of its body, which the SDK would take once more to sign it.
func hashed(sum storage.Hash) func(*s3.Options) {
	give := func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(v4.SetPayloadHash(ctx, sum.String()), in)
	}
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("BodyHash", give), middleware.Before)
	})
}

// current is what is there, or a zero Info for nothing.
func (s *Store) current(ctx context.Context, d docid.Document) (storage.Info, error) {
	info, err := s.head(ctx, d)
	if errors.Is(err, storage.ErrAbsent) {
		return storage.Info{}, nil
	}
	if err == nil && info.Size == 0 && !info.Deleted {
		_, err = storage.Found(d, info)
	}
	return info, err
}
