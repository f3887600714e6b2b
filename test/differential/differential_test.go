// Package differential holds ystore against both living versions of Yjs: what ystore
// accepts must make no client throw, differ from another or wait for ever.
package differential

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/wsnode/wsnode/relay/ystore"
)

// refusals are why ystore may refuse what was drawn: what Yjs throws on, or would
// later, and the differences from Yjs that docs/ystore.md names.
var refusals = []string{
	"bytes as the prototype of an object",
	"clock above 2^53-1",
	"content of Yrs, which Yjs does not have",
	"delete range above 2^53-1",
	"deleted item without length",
	"ends too early",
	"gcFilter of a subdocument is not a function",
	"guid of a subdocument is not a string",
	"integer above 2^53-1",
	"invalid JSON",
	"invalid UTF-8",
	"key __proto__ of a map",
	"length beyond the end",
	"options of a subdocument are not an object",
	"origin is not in the past",
	"parent is not in the past",
	"right origin is not in the past",
	"skip with flags",
	"structs that wait for each other in a circle",
	"too many blocks of one client",
	"types nested too deeply: more than 200 levels",
	"unknown kind of struct",
	"unknown kind of value",
	"unknown type",
	"value nested too deeply: more than 200 levels",
}

// take gives a history to a store and returns what clients get of it.
func take(h history, refused map[string]int) (t trial, fault string) {
	t.Raw, t.Ready, t.Straight = [][]byte{}, [][]byte{}, true
	s := ystore.New(ystore.Limits{})
	if h.keep {
		s.Keep()
	}
	var accepted []update
	for i, u := range h.updates {
		b := u.encode()
		fresh, ready, err := s.ApplyShared(b, ystore.Terms{Limited: true})
		if err != nil {
			var ue *ystore.UpdateError
			if !errors.As(err, &ue) {
				return t, fmt.Sprintf("update %d: %v", i, err)
			}
			refused[ue.What]++
			continue
		}
		accepted = append(accepted, u)
		if h.keep {
			fresh = ready // what pods are told besides is not for Yjs: they have those ids
		}
		if fresh != nil {
			t.Raw = append(t.Raw, fresh)
		}
		if !bytes.Equal(fresh, ready) || s.Stats().Pending > 0 {
			t.Straight = false
		}
		if ready != nil {
			t.Ready = append(t.Ready, ready)
		}
		if i == len(h.updates)/2 {
			t.Early = slices.Clone(s.Encode())
		}
	}
	t.State = s.Encode()
	t.Whole = h.tidy && whole(accepted)
	t.Tidy = h.tidy && !h.crossed
	return t, ""
}

// faults lists what is wrong with a history, after Yjs has judged it.
func faults(version string, t trial, v verdict) (list []string) {
	for _, x := range v.Throws {
		list = append(list, fmt.Sprintf("%s: %s throws: %s", version, x[0], x[1]))
	}
	for _, who := range v.Waits {
		list = append(list, fmt.Sprintf("%s: %s waits for ever", version, who))
	}
	if !v.Unsure {
		for _, who := range v.Differs {
			list = append(list, fmt.Sprintf("%s: %s shows other content than a newcomer", version, who))
		}
	}
	if len(v.Again) > 0 {
		if _, err := ystore.New(ystore.Limits{}).Apply(v.Again); err != nil {
			list = append(list, fmt.Sprintf("%s: what a newcomer uploads is refused: %v", version, err))
		}
	}
	return list
}

// batch is how many histories a process is given at once.
const batch = 50

// The number of updates, and the first seed, are those of WSNODE_DIFFERENTIAL and
// WSNODE_SEED, if set.
func TestWhatIsAcceptedBreaksNoClient(t *testing.T) {
	updates, first := 12000, 1
	for name, v := range map[string]*int{"WSNODE_DIFFERENTIAL": &updates, "WSNODE_SEED": &first} {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			*v = n
		}
	}
	court := newCourt(t)
	defer court.stop()
	sent, seed := 0, uint64(first)
	for ; sent < updates && len(court.found) < 20; seed += batch {
		sent += court.session(t, seed)
	}
	t.Logf("%d updates of seeds %d to %d; %d histories whole, Yjs disagrees with itself about %d; refused: %v",
		sent, first, seed-1, court.whole, court.unsure, court.refused)
	for what, n := range court.refused {
		if !slices.Contains(refusals, what) {
			t.Errorf("refused %d times for no reason that is known: %s", n, what)
		}
	}
	for _, f := range court.mostFrequent() {
		t.Errorf("%d times: %s\n%s", court.times[f], f, shrink(t, f, court.found[f]))
	}
}

// court is a judge of each version, and what they found.
type court struct {
	judges        []*judge
	refused       map[string]int
	times         map[string]int // that a fault was found
	found         map[string]history
	whole, unsure int
}

func newCourt(tb testing.TB) *court {
	c := &court{refused: map[string]int{}, times: map[string]int{}, found: map[string]history{}}
	for _, version := range versions {
		c.judges = append(c.judges, startJudge(tb, version))
	}
	return c
}

func (c *court) stop() {
	for _, j := range c.judges {
		j.stop()
	}
}

// session tries a batch of histories, and returns how many updates they have.
func (c *court) session(t *testing.T, seed uint64) (sent int) {
	var histories []history
	var trials []trial
	for range batch {
		h := newHistory(seed)
		seed++
		sent += len(h.updates)
		tr, fault := take(h, c.refused)
		if fault != "" {
			t.Errorf("seed %d: %s", h.seed, fault)
			continue
		}
		if tr.Whole {
			c.whole++
		}
		histories, trials = append(histories, h), append(trials, tr)
	}
	verdicts := make([][]verdict, len(c.judges))
	errs := make([]error, len(c.judges))
	var wg sync.WaitGroup
	for i, j := range c.judges {
		wg.Go(func() { verdicts[i], errs[i] = j.judge(trials) })
	}
	wg.Wait()
	for i, j := range c.judges {
		for k, v := range verdicts[i] {
			if v.Unsure {
				c.unsure++
			}
			for _, f := range faults(j.version, trials[k], v) {
				c.note(f, histories[k])
			}
		}
		if errs[i] != nil {
			t.Fatalf("%v\n%s", errs[i], histories[len(verdicts[i])])
		}
	}
	return sent
}

// note keeps the shortest history of each fault.
func (c *court) note(fault string, h history) {
	c.times[fault]++
	if old, ok := c.found[fault]; !ok || len(old.updates) > len(h.updates) {
		c.found[fault] = h
	}
}

func (c *court) mostFrequent() []string {
	return slices.SortedFunc(maps.Keys(c.found), func(a, b string) int { return c.times[b] - c.times[a] })
}
