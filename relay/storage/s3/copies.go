package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// Former bodies are copies of ours, which the store itself makes, and what the bucket's
// own versioning keeps where that is on. The ids of the latter begin so.
const bucketsOwn = "bucket-"

// keep has the store copy an object. Whoever copies the same body at the same time
// writes the same copy; one that was replaced meanwhile fails the write after it.
func (s *Store) keep(ctx context.Context, d docid.Document, body storage.Info) error {
	source := s.c.Bucket + "/" + *s.key(storage.Key(d))
	in := &s3.CopyObjectInput{
		Bucket: &s.c.Bucket, Key: s.key(storage.Spelling{}.CopyKey(d, storage.CopyID(body))),
		CopySource:        aws.String((&url.URL{Path: source}).EscapedPath()),
		CopySourceIfMatch: aws.String(etagOf(body.Version)),
		IfNoneMatch:       aws.String("*"), // what a bucket policy may demand of all writes
	}
	if s.c.SSE != "" {
		in.ServerSideEncryption = types.ServerSideEncryption(s.c.SSE)
	}
	if s.c.KMSKey != "" {
		in.SSEKMSKeyId = &s.c.KMSKey
	}
	_, err := s.client.CopyObject(ctx, in)
	if isConflict(err) {
		return nil // it is there, or its source is another one by now
	}
	return classify(err)
}

// Keeps implements storage.Versioned.
func (s *Store) Keeps() time.Duration { return s.c.Versions }

// Copies implements storage.Versioned.
func (s *Store) Copies(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
	var copies []storage.Copy
	err := s.ownCopies(ctx, storage.Spelling{}.CopyDir(d), func(key string, c storage.Copy) error {
		copies = append(copies, c)
		return nil
	})
	if err == nil {
		err = s.formerObjects(ctx, d, func(v types.ObjectVersion, replaced time.Time) error {
			copies = append(copies, storage.Copy{
				ID: bucketsOwn + aws.ToString(v.VersionId), Time: aws.ToTime(v.LastModified), Replaced: replaced, Size: aws.ToInt64(v.Size),
			})
			return nil
		})
		if errors.Is(err, storage.ErrRefused) && s.c.Versions > 0 {
			err = nil // the operator has chosen the other kind, and this one needs more rights
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list versions of %s: %w", d, err)
	}
	storage.SortCopies(copies)
	return copies, nil
}

// ownCopies goes through the copies below a prefix.
func (s *Store) ownCopies(ctx context.Context, below string, each func(key string, c storage.Copy) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.c.Bucket, Prefix: s.key(below)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return classify(err)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			id := strings.TrimSuffix(key[strings.LastIndexByte(key, '/')+1:], storage.Extension)
			at, err := storage.ParseCopyID(id)
			if err != nil {
				continue // somebody else's
			}
			if err := each(key, storage.Copy{ID: id, Time: at, Replaced: aws.ToTime(o.LastModified), Size: aws.ToInt64(o.Size)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// formerObjects goes through what the bucket keeps of a document's object, the newest
// first: not the present one, nor tombstones.
func (s *Store) formerObjects(ctx context.Context, d docid.Document, each func(v types.ObjectVersion, replaced time.Time) error) error {
	key := s.key(storage.Key(d))
	var replaced time.Time
	return s.objectVersions(ctx, *key, func(v types.ObjectVersion) error {
		if aws.ToString(v.Key) != *key {
			return nil
		}
		was := replaced
		replaced = aws.ToTime(v.LastModified)
		if aws.ToBool(v.IsLatest) || aws.ToInt64(v.Size) == 0 {
			return nil
		}
		return each(v, was)
	})
}

// objectVersions goes through what the bucket's versioning has below a prefix. A store
// without it has nothing.
func (s *Store) objectVersions(ctx context.Context, below string, each func(v types.ObjectVersion) error) error {
	pages := s3.NewListObjectVersionsPaginator(s.client, &s3.ListObjectVersionsInput{Bucket: &s.c.Bucket, Prefix: &below})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch {
		case status(err) == http.StatusNotImplemented, status(err) == http.StatusMethodNotAllowed:
			return nil
		case err != nil:
			return classify(err)
		}
		for _, v := range page.Versions {
			if err := each(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// LoadCopy implements storage.Versioned.
func (s *Store) LoadCopy(ctx context.Context, d docid.Document, id string, reserve storage.Reserve) (storage.Stored, error) {
	in := &s3.GetObjectInput{Bucket: &s.c.Bucket}
	version, former := strings.CutPrefix(id, bucketsOwn)
	if former {
		in.Key, in.VersionId = s.key(storage.Key(d)), &version
	} else {
		if _, err := storage.ParseCopyID(id); err != nil {
			return storage.Stored{}, fmt.Errorf("%s: %w: %w", d, storage.ErrAbsent, err)
		}
		in.Key = s.key(storage.Spelling{}.CopyKey(d, id))
	}
	stored, err := s.read(ctx, d, in, reserve)
	if former && (code(err) == "NoSuchVersion" || status(err) == http.StatusBadRequest) {
		err = fmt.Errorf("%w: %w", storage.ErrAbsent, err)
	}
	return stored, failed("load version "+id+" of", d, err)
}

// Expire implements storage.Versioned. What the bucket keeps by itself is the affair of
// its lifecycle.
func (s *Store) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (removed int, err error) {
	err = s.ownCopies(ctx, storage.Spelling{}.CopyPrefix(l), func(key string, c storage.Copy) error {
		if !c.Replaced.Before(before) {
			return nil
		}
		err := s.remove(ctx, key, nil)
		if err == nil {
			removed++
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("remove old versions: %w", err)
	}
	return removed, err
}

// Erase implements storage.Versioned.
func (s *Store) Erase(ctx context.Context, d docid.Document) (removed int, err error) {
	err = s.ownCopies(ctx, storage.Spelling{}.CopyDir(d), func(key string, _ storage.Copy) error {
		err := s.remove(ctx, key, nil)
		if err == nil {
			removed++
		}
		return err
	})
	if err == nil { // in a bucket with versioning a removed object is still there
		err = s.objectVersions(ctx, *s.key(storage.Spelling{}.CopyDir(d)), func(v types.ObjectVersion) error {
			return s.remove(ctx, aws.ToString(v.Key), v.VersionId)
		})
	}
	if err == nil {
		err = s.formerObjects(ctx, d, func(v types.ObjectVersion, _ time.Time) error {
			err := s.remove(ctx, aws.ToString(v.Key), v.VersionId)
			if err == nil {
				removed++
			}
			return err
		})
	}
	if err != nil {
		err = fmt.Errorf("remove versions of %s: %w", d, err)
	}
	return removed, err
}

// remove removes an object, or one version of it for good.
func (s *Store) remove(ctx context.Context, key string, version *string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.c.Bucket, Key: &key, VersionId: version})
	if status(err) == http.StatusNotFound && code(err) != "NoSuchBucket" {
		return nil
	}
	return classify(err)
}
