package ystore

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// trace reads the updates of a typing session of the corpus.
func trace(tb testing.TB, name string) (updates [][]byte) {
	tb.Helper()
	all := unpack(tb, dataFile(tb, name+".ylog.gz"))
	for len(all) > 0 {
		n := 4 + binary.LittleEndian.Uint32(all)
		updates = append(updates, all[4:n:n])
		all = all[n:]
	}
	return updates
}

func unpack(tb testing.TB, r io.Reader) []byte {
	tb.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		tb.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// session is what real Yjs makes of a typing session.
type session struct {
	Updates, YjsStateBytes, YjsStructs int
	TextSha256                         string
}

func sessions(t *testing.T) (all map[string]session) {
	t.Helper()
	if err := json.NewDecoder(dataFile(t, "typing.json")).Decode(&all); err != nil {
		t.Fatal(err)
	}
	if len(all) != len(traces) {
		t.Fatalf("typing.json tells of %d sessions, not of %v", len(all), traces)
	}
	return all
}

// The state is smaller than that of Yjs, has fewer structs, and shows a real client
// the text that the authors saw, also if the updates come out of order.
func TestATypingSessionBecomesWhatItsAuthorsSee(t *testing.T) {
	node := yjs(t)
	for name, want := range sessions(t) {
		t.Run(name, func(t *testing.T) {
			updates := trace(t, name)
			if len(updates) != want.Updates {
				t.Fatalf("%d updates, not %d", len(updates), want.Updates)
			}
			dir := t.TempDir()
			var states []string
			keep := func(order string) {
				s := typed(t, updates)
				state := s.Encode()
				if n := s.Stats().Structs; len(state) > want.YjsStateBytes || n > want.YjsStructs {
					t.Errorf("%s: %d bytes and %d structs, Yjs has %d and %d", order, len(state), n, want.YjsStateBytes, want.YjsStructs)
				}
				file := filepath.Join(dir, order)
				if err := os.WriteFile(file, state, 0o644); err != nil {
					t.Fatal(err)
				}
				states = append(states, file)
			}
			keep("in-order")
			shuffle(updates)
			keep("shuffled")
			cmd := exec.Command("node", append([]string{filepath.Join(node, "typing.mjs"), "show"}, states...)...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Fields(string(out)); !slices.Equal(got, []string{want.TextSha256, want.TextSha256}) {
				t.Errorf("a client shows %v, not what the authors saw: %s", got, want.TextSha256)
			}
		})
	}
}

// typed applies the updates to an empty document, which it verifies on the way.
func typed(t *testing.T, updates [][]byte) *Store {
	t.Helper()
	s := New(Limits{})
	for i, u := range updates {
		if _, err := s.Apply(u); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
		if i%1000 != 0 && i != len(updates)-1 {
			continue
		}
		if err := verify(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// shuffle brings updates out of order, each by some hundred places.
func shuffle(updates [][]byte) {
	rnd := rand.New(rand.NewSource(1))
	for part := range slices.Chunk(updates, 500) {
		rnd.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
	}
}

func TestTheTypingSessionsAreWhatTheirGeneratorMakes(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("node", filepath.Join(yjs(t), "typing.mjs"), "write", dir).CombinedOutput(); err != nil {
		t.Fatalf("typing.mjs: %v\n%s", err, out)
	}
	for _, name := range traces {
		again, err := os.ReadFile(filepath.Join(dir, name+".ylog.gz"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(unpack(t, dataFile(t, name+".ylog.gz")), unpack(t, bytes.NewReader(again))) {
			t.Errorf("%s: run node typing.mjs write ../data in test/corpus/node", name)
		}
	}
	committed, err := io.ReadAll(dataFile(t, "typing.json"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(filepath.Join(dir, "typing.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, again) {
		t.Error("typing.json differs")
	}
}
