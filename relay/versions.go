package relay

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/internal/pause"
	"github.com/wsnode/wsnode/relay/storage"
)

// expireEvery is how often a node removes old versions of documents. All nodes do, at
// times of their own; who comes later finds little.
const expireEvery = 24 * time.Hour

// expireVersions removes versions that are too old, until ctx ends.
func expireVersions(ctx context.Context, license docid.LicenseRegion, s storage.Versioned, log *slog.Logger) {
	if s.Keeps() == 0 {
		return
	}
	for next := rand.N(time.Hour); ; next = expireEvery/2 + rand.N(expireEvery) {
		if !pause.For(ctx, next) {
			return
		}
		switch removed, err := s.Expire(ctx, license, time.Now().Add(-s.Keeps())); {
		case err != nil && ctx.Err() == nil:
			log.Warn("old versions of documents could not be removed; tried again tomorrow", "license", license, "error", err)
		case removed > 0:
			log.Info("old versions of documents were removed", "license", license, "versions", removed)
		}
	}
}
