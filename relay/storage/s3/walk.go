package s3

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Object is any object below a prefix, ours or not.
type Object struct {
	Key  string // without the prefix
	Size int64
	// Read returns its content. It may be called until the walk's context ends.
	Read func() ([]byte, error)
}

// Walk goes through all objects below the configured prefix, in the order of their keys:
// what an import reads of other programs' buckets.
func Walk(ctx context.Context, c Config, each func(Object) error) error {
	s, err := Open(ctx, c)
	if err != nil {
		return err
	}
	below := aws.ToString(s.key(""))
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.c.Bucket, Prefix: &below})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list bucket %s: %w", c.Bucket, classify(err))
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			one := Object{Key: strings.TrimPrefix(key, below), Size: aws.ToInt64(o.Size), Read: func() ([]byte, error) { return s.content(ctx, key) }}
			if err := each(one); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) content(ctx context.Context, key string) ([]byte, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.c.Bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", key, classify(err))
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", key, err)
	}
	return body, nil
}
