package storagetest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	. "github.com/wsnode/wsnode/relay/storage/storagetest"
)

// copiesBroken is a store in memory that is broken in what it does with versions.
type copiesBroken struct {
	*Memory
	copies func(context.Context, docid.Document) ([]storage.Copy, error)
	load   func(context.Context, docid.Document, string, storage.Reserve) (storage.Stored, error)
	expire func(context.Context, docid.LicenseRegion, time.Time) (int, error)
	erase  func(context.Context, docid.Document) (int, error)
	save   func(context.Context, docid.Document, storage.Version, storage.Meta, []byte) (storage.Version, error)
}

func (b *copiesBroken) Copies(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
	if b.copies != nil {
		return b.copies(ctx, d)
	}
	return b.Memory.Copies(ctx, d)
}

func (b *copiesBroken) LoadCopy(ctx context.Context, d docid.Document, id string, r storage.Reserve) (storage.Stored, error) {
	if b.load != nil {
		return b.load(ctx, d, id, r)
	}
	return b.Memory.LoadCopy(ctx, d, id, r)
}

func (b *copiesBroken) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (int, error) {
	if b.expire != nil {
		return b.expire(ctx, l, before)
	}
	return b.Memory.Expire(ctx, l, before)
}

func (b *copiesBroken) Erase(ctx context.Context, d docid.Document) (int, error) {
	if b.erase != nil {
		return b.erase(ctx, d)
	}
	return b.Memory.Erase(ctx, d)
}

func (b *copiesBroken) Save(ctx context.Context, d docid.Document, v storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if b.save != nil {
		return b.save(ctx, d, v, m, body)
	}
	return b.Memory.Save(ctx, d, v, m, body)
}

var copyFaults = []struct {
	name, fails string
	breaks      func(m *Memory, b *copiesBroken)
}{
	{"keeps nothing", "the last body", func(_ *Memory, b *copiesBroken) {
		b.copies = func(context.Context, docid.Document) ([]storage.Copy, error) { return nil, nil }
	}},
	{"keeps every body", "the last body", func(m *Memory, b *copiesBroken) {
		n := 0
		b.save = func(ctx context.Context, d docid.Document, v storage.Version, meta storage.Meta, body []byte) (storage.Version, error) {
			n++ // an hour of its own for each
			meta.Time = meta.Time.Add(time.Duration(n) * time.Hour)
			return m.Save(ctx, d, v, meta, body)
		}
	}},
	{"copies what comes instead of what was", "the last body", func(m *Memory, b *copiesBroken) {
		b.load = func(ctx context.Context, d docid.Document, id string, r storage.Reserve) (storage.Stored, error) {
			if _, err := m.LoadCopy(ctx, d, id, r); err != nil {
				return storage.Stored{}, err
			}
			return m.Load(ctx, d, nil)
		}
	}},
	{"lists the oldest first", "the last body", func(m *Memory, b *copiesBroken) {
		b.copies = func(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
			copies, err := m.Copies(ctx, d)
			for i, j := 0, len(copies)-1; i < j; i, j = i+1, j-1 {
				copies[i], copies[j] = copies[j], copies[i]
			}
			return copies, err
		}
	}},
	{"takes memory without asking", "the last body", func(m *Memory, b *copiesBroken) {
		b.load = func(ctx context.Context, d docid.Document, id string, _ storage.Reserve) (storage.Stored, error) {
			return m.LoadCopy(ctx, d, id, nil)
		}
	}},
	{"lists versions of neighbours", "its own versions", func(m *Memory, b *copiesBroken) {
		b.copies = func(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
			copies, err := m.Copies(ctx, d)
			if d.Name == "v" {
				other := d
				other.Name = "va"
				more, _ := m.Copies(ctx, other)
				copies = append(copies, more...)
			}
			return copies, err
		}
	}},
	{"expires by when bodies were written", "end with their time", func(m *Memory, b *copiesBroken) {
		b.expire = func(ctx context.Context, l docid.LicenseRegion, _ time.Time) (int, error) {
			return m.Expire(ctx, l, time.Now().Add(time.Hour))
		}
	}},
	{"never expires", "end with their time", func(m *Memory, b *copiesBroken) {
		b.expire = func(context.Context, docid.LicenseRegion, time.Time) (int, error) { return 0, nil }
	}},
	{"erases the neighbours", "erased versions", func(m *Memory, b *copiesBroken) {
		b.erase = func(ctx context.Context, d docid.Document) (int, error) {
			n, err := m.Erase(ctx, d)
			if strings.HasSuffix(d.Name, "erased") {
				d.Name += ", not"
				_, err = m.Erase(ctx, d)
			}
			return n, err
		}
	}},
	{"erases nothing", "erased versions", func(_ *Memory, b *copiesBroken) {
		b.erase = func(context.Context, docid.Document) (int, error) { return 1, nil }
	}},
}

func TestTheSuiteFailsOnBrokenVersions(t *testing.T) {
	for _, f := range copyFaults {
		t.Run(f.name, func(t *testing.T) {
			m := NewMemory()
			b := &copiesBroken{Memory: m}
			f.breaks(m, b)
			for _, c := range Cases() {
				if strings.Contains(c.Name, f.fails) {
					if err := c.Holds(t.Context(), &Harness{Store: b, Other: m, Versioned: b}); err == nil {
						t.Errorf("case %q held", c.Name)
					}
					return
				}
			}
			t.Errorf("there is no case %q", f.fails)
		})
	}
}
