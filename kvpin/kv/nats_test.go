package kv

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/wsnode/wsnode/test/natstest"
	"github.com/wsnode/wsnode/test/wait"
)

const testBucket = "wsnode-aws-eu-west-1"

func realStore(t *testing.T, url string, replicas int) *NATSStore {
	t.Helper()
	source := Source{URL: url, Replicas: replicas, Create: true}
	s := connectedStore(t, source)
	// Who asks for a bucket right after its creation may ask a server that has not
	// heard of it; a node asks again.
	wait.Until(t, "the bucket is there", func() bool {
		_, err := s.Ensure(t.Context(), source)
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	// A replicated bucket elects its leader first.
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := s.Put(t.Context(), "ready", nil, 0, time.Second)
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// connectedStore is connected, but its bucket may be missing.
func connectedStore(t *testing.T, source Source) *NATSStore {
	t.Helper()
	link, err := Connect(source, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	if err := link.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return link.Bucket(testBucket, "")
}

func put(t *testing.T, s Store, key, value string, expect uint64, ttl time.Duration) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	revision, err := s.Put(ctx, key, []byte(value), expect, ttl)
	if err != nil {
		t.Fatalf("put %s at %d: %v", key, expect, err)
	}
	return revision
}

func TestBucketThatTheServerWillNotCreateSaysWhy(t *testing.T) {
	t.Parallel()
	source := Source{URL: natstest.Server(t).URL, Replicas: 3, Create: true}
	if _, err := connectedStore(t, source).Ensure(t.Context(), source); err == nil || !strings.Contains(err.Error(), "replicas > 1") {
		t.Fatalf("three replicas on one server: %v", err)
	}
}

func TestDeniedRequestNamesThePermissionThatIsMissing(t *testing.T) {
	t.Parallel()
	nats := natstest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "reader", Password: "r", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$KV.>", "$JS.API.STREAM.MSG.GET.>", "$JS.API.STREAM.CREATE.>"}},
		}}}
	})
	source := Source{URL: strings.Replace(nats.URL, "nats://", "nats://reader:r@", 1), Create: true}
	s := connectedStore(t, source)
	for subject, ask := range map[string]func(context.Context) error{
		"$KV.wsnode-aws-eu-west-1.a": func(ctx context.Context) error {
			_, err := s.Put(ctx, "a", nil, 0, 0)
			if !errors.Is(err, ErrUnsettled) {
				t.Fatalf("a write that was denied: %v", err)
			}
			return err
		},
		"$JS.API.STREAM.MSG.GET.": func(ctx context.Context) error { _, err := s.Get(ctx, "a"); return err },
		"$JS.API.STREAM.CREATE.":  func(ctx context.Context) error { _, err := s.Ensure(ctx, source); return err },
	} {
		wait.Until(t, "the error names "+subject, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err := ask(ctx)
			return errors.Is(err, context.DeadlineExceeded) && strings.Contains(err.Error(), `Publish to "`+subject)
		})
	}
}

func TestWriteThatWasNeverSentIsNotUnsettled(t *testing.T) {
	t.Parallel()
	proxy := natstest.NewProxy(t, natstest.Server(t).URL)
	s := realStore(t, proxy.URL, 1)
	proxy.Refuse()
	wait.Until(t, "the connection is lost", func() bool { return !s.Conn().IsConnected() })
	if _, err := s.Put(t.Context(), "a", nil, 0, 0); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnsettled) || !strings.Contains(err.Error(), "not connected: ") {
		t.Fatalf("a write that was never sent: %v", err)
	}
}
