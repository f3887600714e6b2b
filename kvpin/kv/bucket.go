package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Description is what a bucket's stream says of itself.
const Description = "wsnode registry: pins, leases, limits"

// maxWatches is for nodes of the version before by the ten thousand: each watches
// by a consumer or two, and what is not said is 1,000.
const maxWatches = 100_000

// The oldest server that works: per-message TTLs and their markers came with it.
const oldestMajor, oldestMinor = 2, 11

// BucketError says what is wrong with a registry's bucket or server, in words for
// an operator.
type BucketError struct {
	Bucket string
	Wrong  []string
}

func (e *BucketError) Error() string {
	return fmt.Sprintf("registry bucket %s: %s", e.Bucket, strings.Join(e.Wrong, "; "))
}

// Ensure checks the server and the bucket, and creates a missing bucket if the
// source says so. It reports whether it did. A bucket or server that cannot be used is
// a *BucketError.
func (s *NATSStore) Ensure(ctx context.Context, source Source) (created bool, err error) {
	bucket := strings.TrimPrefix(s.stream, "KV_")
	nc := s.link.conn.NATS()
	if !nc.IsConnected() {
		return false, unavailable(s.link.notConnected())
	}
	if err := CheckServer(nc); err != nil {
		return false, &BucketError{bucket, []string{err.Error()}}
	}
	js, err := jetStream(nc, source.Domain)
	if err != nil {
		return false, err
	}
	wanted := jetstream.StreamConfig{
		Name:                   s.stream,
		Description:            Description,
		Subjects:               []string{"$KV." + bucket + ".>"},
		MaxMsgsPerSubject:      1,
		Storage:                jetstream.FileStorage,
		Replicas:               max(source.Replicas, 1),
		Discard:                jetstream.DiscardNew,
		AllowRollup:            true,
		DenyDelete:             true,
		AllowDirect:            true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: MarkerTTL,
		MaxMsgs:                -1,
		MaxBytes:               -1,
		MaxMsgSize:             -1,
		MaxConsumers:           maxWatches,
	}
	asked := time.Now()
	stream, err := js.Stream(ctx, s.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if !source.Create {
			return false, &BucketError{bucket, []string{"it does not exist, and creating buckets is switched off"}}
		}
		_, refused := js.CreateStream(ctx, wanted)
		if refused == nil {
			return true, nil
		}
		// Another node may have been faster.
		if stream, err = js.Stream(ctx, s.stream); errors.Is(err, jetstream.ErrStreamNotFound) {
			err = refused
		}
	}
	if err != nil {
		return false, fmt.Errorf("%w: bucket %s: %w", ErrUnavailable, bucket, s.link.explain(asked, err))
	}
	if wrong := compare(stream.CachedInfo().Config, wanted); len(wrong) > 0 {
		return false, &BucketError{bucket, wrong}
	}
	return false, nil
}

// Names returns the names of the buckets on a NATS cluster, in no order, of
// registries and of others.
func Names(ctx context.Context, nc *nats.Conn, domain string) ([]string, error) {
	js, err := jetStream(nc, domain)
	if err != nil {
		return nil, err
	}
	var names []string
	lister := js.StreamNames(ctx)
	for stream := range lister.Name() {
		if name, ok := strings.CutPrefix(stream, StreamName("")); ok {
			names = append(names, name)
		}
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	return names, nil
}

func jetStream(nc *nats.Conn, domain string) (jetstream.JetStream, error) {
	if domain != "" {
		return jetstream.NewWithDomain(nc, domain)
	}
	return jetstream.New(nc)
}

// compare names what makes an existing bucket unusable as a registry.
func compare(have, want jetstream.StreamConfig) (wrong []string) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	check(have.MaxMsgsPerSubject == 1, "it keeps a history of %d values, expected 1", have.MaxMsgsPerSubject)
	check(have.Storage == jetstream.FileStorage, "it is stored in memory, expected files")
	check(have.AllowMsgTTL, "it does not allow TTLs of single keys (allow_msg_ttl)")
	check(have.SubjectDeleteMarkerTTL >= time.Second, "it leaves no markers for expired keys (subject_delete_marker_ttl)")
	check(have.MaxAge == 0, "its keys expire after %s, expected never", have.MaxAge)
	check(have.AllowRollup, "it does not allow purging keys (allow_rollup_hdrs)")
	check(have.AllowDirect, "it does not allow direct reads (allow_direct)")
	check(have.MaxMsgs <= 0 && have.MaxBytes <= 0, "its size is limited: a full registry refuses every document")
	check(have.Mirror == nil && len(have.Sources) == 0, "it mirrors another bucket: its answers can be stale")
	check(len(have.Subjects) == 1 && have.Subjects[0] == want.Subjects[0], "its subjects are %v, expected %v", have.Subjects, want.Subjects)
	check(have.Replicas >= want.Replicas, "it has %d replicas, expected %d", have.Replicas, want.Replicas)
	return wrong
}

// CheckServer says why the NATS server of a connection is too old for nodes.
func CheckServer(nc *nats.Conn) error {
	return checkVersion(nc.ConnectedServerVersion(), nc.ConnectedUrlRedacted())
}

func checkVersion(version, url string) error {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) == 3 {
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		if err1 == nil && err2 == nil && (major > oldestMajor || major == oldestMajor && minor >= oldestMinor) {
			return nil
		}
	}
	return fmt.Errorf("its nats-server %s has version %q, and wsnode needs %d.%d or newer for keys that expire",
		url, version, oldestMajor, oldestMinor)
}
