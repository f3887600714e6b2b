package differential

import (
	"slices"
	"testing"
)

// shrink returns a smaller history with the same fault.
func shrink(tb testing.TB, fault string, h history) history {
	tb.Helper()
	var version string
	for _, v := range versions {
		if len(fault) > len(v) && fault[:len(v)+1] == v+":" {
			version = v
		}
	}
	if version == "" {
		return h
	}
	j := startJudge(tb, version)
	defer j.stop()
	fails := func(smaller history) bool {
		t, bad := take(smaller, map[string]int{})
		if bad != "" {
			return false
		}
		vs, err := j.judge([]trial{t})
		return err == nil && slices.Contains(faults(version, t, vs[0]), fault)
	}
	for again := true; again; {
		again = false
		for _, smaller := range smallers(h) {
			if fails(smaller) {
				h, again = smaller, true
				break
			}
		}
	}
	return h
}

// smallers are the histories that lack one thing.
func smallers(h history) (out []history) {
	with := func(i int, u update) history {
		updates := slices.Clone(h.updates)
		updates[i] = u
		return history{h.seed, h.tidy, h.keep, h.crossed, updates}
	}
	for i, u := range h.updates {
		out = append(out, history{h.seed, h.tidy, h.keep, h.crossed, slices.Delete(slices.Clone(h.updates), i, i+1)})
		if u.bytes != nil {
			continue
		}
		for k := range u.deletes {
			out = append(out, with(i, update{blocks: u.blocks, deletes: slices.Delete(slices.Clone(u.deletes), k, k+1)}))
		}
		for k, x := range u.blocks {
			if len(u.blocks) > 1 {
				out = append(out, with(i, update{blocks: slices.Delete(slices.Clone(u.blocks), k, k+1), deletes: u.deletes}))
			}
			changed := func(x block) history {
				blocks := slices.Clone(u.blocks)
				blocks[k] = x
				return with(i, update{blocks: blocks, deletes: u.deletes})
			}
			if n := len(x.pieces); n > 1 {
				out = append(out, changed(block{x.client, x.clock, x.pieces[:n-1]}))
				for m, p := range x.pieces {
					if p.kind == kindString && string(p.content) == "\x01s" || p.length != 1 {
						continue
					}
					plain := slices.Clone(x.pieces)
					plain[m] = piece{kind: kindString, length: 1, content: []byte("\x01s"), root: "text"}
					out = append(out, changed(block{x.client, x.clock, plain}))
				}
			}
		}
	}
	return out
}
