package control

import (
	"context"
	"sync"
	"time"
)

// storeEndpoints wait for stores, and so are worked on beside each other.
func (s *Server) storeEndpoints() map[string]endpoint {
	n := s.node
	return map[string]endpoint{
		StoresVerb: with(func(ctx context.Context, r StoresRequest) (any, error) { return n.Stores(ctx, r.Check), nil }),
		StoredVerb: with(func(ctx context.Context, r StatRequest) (any, error) { return n.Stored(ctx, r.Document) }),
		FetchVerb:  with(s.fetch),
		StoreListVerb: with(func(ctx context.Context, r StoreListRequest) (any, error) {
			r.Limit = min(clampRows(r.Limit), max(s.room()/longestEntry, 1))
			return n.StoreList(ctx, r)
		}),
		VersionsVerb: with(s.versions),
		EraseVerb: with(func(ctx context.Context, r StatRequest) (any, error) {
			erased, err := n.StoreErase(ctx, r.Document)
			if err == nil {
				s.log.Warn("an operator erased the versions of a document", "document", r.Document.String(), "versions", erased.Versions)
			}
			return erased, err
		}),
		AcceptVerb: with(func(ctx context.Context, r StoreAcceptRequest) (any, error) {
			accepted, err := n.StoreAccept(ctx, r)
			if err == nil && accepted.Lost != "" && !r.DryRun {
				s.log.Warn("an operator accepted that a store has lost something", "document", r.Document.String(), "lost", accepted.Lost)
			}
			return accepted, err
		}),
		SaveVerb: with(func(ctx context.Context, r StatRequest) (any, error) {
			kept, err := n.Save(ctx, r.Document)
			if err == nil {
				s.log.Info("an operator had a document stored", "document", r.Document.String(), "version", kept.Version)
			}
			return kept, err
		}),
		StorePutVerb: with(s.put),
		StoreDelVerb: with(func(ctx context.Context, r StatRequest) (any, error) {
			result, err := n.StoreDelete(ctx, r.Document)
			if err == nil {
				s.log.Warn("an operator deleted a document", "document", r.Document.String(), "outcome", result.Outcome)
			}
			return result, err
		}),
		StoreDropVerb: with(func(ctx context.Context, r StatRequest) (any, error) {
			result, err := n.StoreDrop(ctx, r.Document)
			if err == nil {
				s.log.Warn("an operator dropped the deleted content of a document", "document", r.Document.String(), "outcome", result.Outcome)
			}
			return result, err
		}),
		MoveVerb: with(func(ctx context.Context, r MoveRequest) (any, error) {
			moved, err := n.Move(ctx, r)
			if err == nil {
				s.log.Info("an operator had a document moved", "document", r.Document.String(), "region", r.To)
			}
			return moved, err
		}),
		UnstoredVerb: with(func(ctx context.Context, _ struct{}) (any, error) { return n.Unstored(ctx) }),
		StoreNameVerb: with(func(ctx context.Context, r StoreNameRequest) (any, error) {
			state, err := n.StoreName(ctx, r)
			if err == nil {
				s.log.Warn("an operator named the store", "license", r.License, "store", state.ID)
			}
			return state, err
		}),
	}
}

// longestEntry is more than a row of a listing takes: names have 1,024 bytes, which JSON
// may spell with six letters each.
const longestEntry = 7 << 10

const (
	// storeRequestTimeout bounds the work for one request of a store.
	storeRequestTimeout = 2 * time.Minute
	// storeRequests is how many requests of stores are worked on at a time.
	storeRequests = 16
)

// fetch hands out a stored body part by part, as export does.
func (s *Server) fetch(ctx context.Context, r ExportRequest) (any, error) {
	return s.parts(r, func() ([]byte, error) { return s.node.Fetch(ctx, r.Document, r.Version) })
}

// longestVersion is more than a row of a listing of versions takes.
const longestVersion = 1 << 9

// versions lists former bodies, as many as an answer holds. They may change between two
// pages: an operator sees one twice then, or misses one that was just made.
func (s *Server) versions(ctx context.Context, r StoreVersionsRequest) (any, error) {
	all, err := s.node.StoreVersions(ctx, r.Document)
	if err != nil {
		return nil, err
	}
	if r.From < 0 || r.From > len(all) {
		return StoreVersionsPage{}, nil
	}
	p := StoreVersionsPage{Rows: all[r.From:]}
	if most := max(s.room()/longestVersion, 1); len(p.Rows) > most {
		p.Rows, p.Next = p.Rows[:most], r.From+most
	}
	return p, nil
}

// put takes an update part by part.
func (s *Server) put(ctx context.Context, r StorePutRequest) (any, error) {
	if r.Put == 0 {
		if most := s.node.MaxPut(); r.Size < 0 || r.Size > most {
			return nil, Wrong("%d bytes: expected at most %d", r.Size, most)
		}
		r.Put = s.uploads.begin(r)
	}
	u, whole, err := s.uploads.add(r)
	if err != nil || !whole {
		return StorePutAnswer{Put: r.Put}, err
	}
	result, err := s.node.StorePut(ctx, u.request, u.data)
	if err != nil {
		return nil, err
	}
	if !u.request.DryRun {
		s.log.Info("an operator put a document into the store", "document", u.request.Document.String(), "outcome", result.Outcome)
	}
	return StorePutAnswer{Put: r.Put, Result: &result}, nil
}

// uploads are what operators are sending. The zero value is ready.
type uploads struct {
	mu   sync.Mutex // guards all below
	last uint64
	kept map[uint64]*upload
}

type upload struct {
	request StorePutRequest
	data    []byte
	forget  *time.Timer
}

const (
	maxUploads = 8
	uploadLife = 30 * time.Second // without a request
)

// begin makes room for an upload. The oldest gives way if there are too many.
func (u *uploads) begin(r StorePutRequest) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.kept == nil {
		u.kept = map[uint64]*upload{}
	}
	if len(u.kept) >= maxUploads {
		oldest := u.last
		for id := range u.kept {
			oldest = min(oldest, id)
		}
		u.dropLocked(oldest)
	}
	u.last++
	id := u.last
	u.kept[id] = &upload{request: r, forget: time.AfterFunc(uploadLife, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.dropLocked(id)
	})}
	return id
}

func (u *uploads) dropLocked(id uint64) {
	if up := u.kept[id]; up != nil {
		up.forget.Stop()
		delete(u.kept, id)
	}
}

// add takes a part. A part that is there already is fine: its answer was lost.
func (u *uploads) add(r StorePutRequest) (up *upload, whole bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	up = u.kept[r.Put]
	if up == nil {
		return nil, false, NotFound("the upload has run out: begin again")
	}
	up.forget.Reset(uploadLife)
	if r.Offset > len(up.data) || len(up.data)+len(r.Data) > up.request.Size {
		return nil, false, Wrong("part of %d bytes at %d: expected one at %d of %d", len(r.Data), r.Offset, len(up.data), up.request.Size)
	}
	if r.Offset == len(up.data) {
		up.data = append(up.data, r.Data...)
	}
	if whole = len(up.data) == up.request.Size; whole {
		u.dropLocked(r.Put)
	}
	return up, whole, nil
}
