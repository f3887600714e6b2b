package relay

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// A version ends once it was replaced for as long as the store keeps versions, however
// long before it was written.
func TestOldVersionsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, d := storagetest.NewMemory(), docid.Document{License: "aws-eu-west-1", Tenant: "acme", App: "notes", Name: "todo"}
		write := func(expect storage.Version, written time.Time) storage.Version {
			v, err := s.Save(ctx, d, expect, storage.Meta{Time: written}, []byte("text"))
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		left := func() int {
			synctest.Wait()
			copies, err := s.Copies(ctx, d)
			if err != nil {
				t.Fatal(err)
			}
			return len(copies)
		}
		go expireVersions(ctx, "aws-eu-west-1", s, slog.New(slog.DiscardHandler))
		v := write(storage.Absent, time.Now().Add(-1000*time.Hour))
		time.Sleep(10 * time.Hour)
		write(v, time.Now())
		if time.Sleep(s.Keeps() - time.Minute); left() != 1 {
			t.Error("a version was removed that was replaced a moment less ago than versions are kept")
		}
		if time.Sleep(2 * expireEvery); left() != 0 {
			t.Error("an old version is still there")
		}
		cancel()
		synctest.Wait()
	})
}
