package s3

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Load implements storage.Store.
func (s *Store) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	stored, err := s.get(ctx, d, reserve)
	return stored, failed("load", d, err)
}

func (s *Store) get(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	return s.read(ctx, d, &s3.GetObjectInput{Bucket: &s.c.Bucket, Key: s.key(storage.Key(d))}, reserve)
}

// read reads a body of a document, the present one or a former one.
func (s *Store) read(ctx context.Context, d docid.Document, in *s3.GetObjectInput, reserve storage.Reserve) (storage.Stored, error) {
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return storage.Stored{}, classify(err)
	}
	defer out.Body.Close()
	info, hashed, err := parse(d, out.Metadata, out.ETag, out.ContentLength)
	if err != nil {
		return storage.Stored{}, err
	}
	return storage.ReadBody(ctx, d, info, hashed, out.Body, reserve)
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	info, err := s.head(ctx, d)
	if err == nil {
		info, err = storage.Found(d, info)
	}
	return info, failed("stat", d, err)
}

// head is Stat for tombstones, too.
func (s *Store) head(ctx context.Context, d docid.Document) (storage.Info, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.c.Bucket, Key: s.key(storage.Key(d))})
	if status(err) == http.StatusNotFound {
		return s.missing(ctx, d)
	}
	if err != nil {
		return storage.Info{}, classify(err)
	}
	info, _, err := parse(d, out.Metadata, out.ETag, out.ContentLength)
	return info, err
}

// missing finds out what a HEAD's 404, which has no body, is about: the object, the
// bucket, or neither of them. Another answer is what is there by now.
func (s *Store) missing(ctx context.Context, d docid.Document) (storage.Info, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.c.Bucket, Key: s.key(storage.Key(d))})
	if err != nil {
		return storage.Info{}, classify(err)
	}
	defer out.Body.Close()
	info, _, err := parse(d, out.Metadata, out.ETag, out.ContentLength)
	return info, err
}

// List implements storage.Store. The order is that of the keys; Next is a key.
func (s *Store) List(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Check(); err != nil {
		return storage.Page{}, err
	}
	in := &s3.ListObjectsV2Input{
		Bucket: &s.c.Bucket, Prefix: s.key(storage.Spelling{}.Prefix(q)), MaxKeys: aws.Int32(int32(q.PageSize())),
	}
	if q.After != "" {
		in.StartAfter = s.key(q.After)
	}
	out, err := s.client.ListObjectsV2(ctx, in)
	if err != nil {
		return storage.Page{}, fmt.Errorf("list: %w", classify(err))
	}
	var page storage.Page
	var last string
	for _, object := range out.Contents {
		last = strings.TrimPrefix(aws.ToString(object.Key), aws.ToString(s.key("")))
		e := storage.Entry{Size: aws.ToInt64(object.Size), Time: aws.ToTime(object.LastModified)}
		e.Deleted = e.Size == 0
		if e.Document, err = s.document(ctx, last); err != nil {
			return storage.Page{}, fmt.Errorf("list: %w", err)
		}
		if e.Document != storage.MarkerDocument && q.Matches(e.Document) {
			page.Entries = append(page.Entries, e)
		}
	}
	if aws.ToBool(out.IsTruncated) {
		page.Next = last
	}
	return page, nil
}

// document is what a key belongs to, or MarkerDocument for what is not a document's.
func (s *Store) document(ctx context.Context, key string) (docid.Document, error) {
	d, whole, err := storage.ParseKey(key)
	if err != nil || whole {
		if err != nil {
			d = storage.MarkerDocument // somebody else's
		}
		return d, nil
	}
	// The name is cut in the key.
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.c.Bucket, Key: s.key(key)})
	if status(err) == http.StatusNotFound {
		return storage.MarkerDocument, nil // removed meanwhile
	}
	if err != nil {
		return docid.Document{}, classify(err)
	}
	if d.Name, err = parseName(lookup(out.Metadata, fieldName)); err != nil || storage.Key(d) != key {
		return storage.MarkerDocument, nil
	}
	return d, nil
}

// The metadata's prefix, and the field of the document's name.
const (
	prefix    = "wsn-"
	fieldName = prefix + "name"
)

// metadata spells info and the name. S3 takes 2 KB of it: percent-encoding triples
// what is not ASCII, so that a long name stands there in base64.
func metadata(d docid.Document, info storage.Info) map[string]string {
	m := map[string]string{fieldName: url.PathEscape(d.Name)}
	if len(m[fieldName]) > 1000 {
		m[fieldName] = inBase64 + base64.RawURLEncoding.EncodeToString([]byte(d.Name))
	}
	for name, value := range storage.Fields(info) {
		m[prefix+name] = value
	}
	return m
}

// inBase64 marks a name in base64; ',' is none of the characters that
// url.PathEscape leaves.
const inBase64 = "base64,"

func parseName(text string) (string, error) {
	if coded, ok := strings.CutPrefix(text, inBase64); ok {
		raw, err := base64.RawURLEncoding.DecodeString(coded)
		return string(raw), err
	}
	return url.PathUnescape(text)
}

func lookup(metadata map[string]string, name string) string {
	for key, value := range metadata {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// parse reads what an answer tells of an object. hashed is false for an object that
// came into the bucket by other means.
func parse(d docid.Document, metadata map[string]string, etag *string, size *int64) (info storage.Info, hashed bool, err error) {
	info, hashed, err = storage.ParseFields(func(name string) string { return lookup(metadata, prefix+name) })
	if err != nil {
		return storage.Info{}, false, storage.Corrupt(d, "%v", err)
	}
	if aws.ToString(etag) == "" || size == nil {
		return storage.Info{}, false, fmt.Errorf("an answer without ETag or Content-Length: %q, %v", aws.ToString(etag), size)
	}
	info.Size = *size
	info.Version = version(etag, info.Generation)
	return info, hashed, nil
}

func version(etag *string, g storage.Generation) storage.Version {
	return storage.Version(aws.ToString(etag) + ":" + g.String())
}

// etagOf is the inverse of version.
func etagOf(v storage.Version) string {
	etag := string(v)
	if i := strings.LastIndexByte(etag, ':'); i >= 0 {
		etag = etag[:i]
	}
	return etag
}

// newBody is a body that a request can send. Of 0 bytes it is not nil, which the SDK
// would take for a stream of unknown length.
func newBody(body []byte) io.ReadSeeker { return bytes.NewReader(body) }

// status is the HTTP status of an answer, or 0 if there was none.
func status(err error) int {
	if answer := (*awshttp.ResponseError)(nil); errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// isConflict reports whether a write was refused for the version that it expected:
// another one is there, another write is under way, or nothing is there any more.
func isConflict(err error) bool {
	switch status(err) {
	case http.StatusPreconditionFailed:
		return true
	case http.StatusConflict:
		return code(err) == "ConditionalRequestConflict"
	case http.StatusNotFound:
		return code(err) == "NoSuchKey"
	}
	return false
}

// classify turns an error of the SDK into ours. Only a 404 that names the key says
// that the object is absent: without the right to list, S3 answers 403 for it, and
// anything between may answer 404 for all.
func classify(err error) error {
	sentinel := error(nil)
	switch s, c := status(err), code(err); {
	case s == http.StatusNotFound && c == "NoSuchKey":
		sentinel = storage.ErrAbsent
	case c == "NoSuchBucket", c == "PermanentRedirect", c == "AuthorizationHeaderMalformed", s == http.StatusUnauthorized, s == http.StatusForbidden,
		s == http.StatusMovedPermanently:
		sentinel = storage.ErrRefused
	case c == "EntityTooLarge", s == http.StatusRequestEntityTooLarge:
		sentinel = storage.ErrTooLarge
	case s == http.StatusNotImplemented:
		sentinel = storage.ErrUnconditional
	default:
		return err
	}
	return fmt.Errorf("%w: %w", sentinel, err)
}
