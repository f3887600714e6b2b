package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pack writes a log in the format of the traces.
func pack(t *testing.T, updates ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, u := range updates {
		z.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(u))))
		z.Write([]byte(u))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "some.ylog.gz")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	typed  = "\x01\x01\x01\x00\x04\x01\x01t\x03abc\x00" // client 1 types abc in root t
	onward = "\x01\x01\x01\x03\x84\x01\x02\x02de\x00"   // and de behind it
)

func TestATraceIsMeasuredWithAllKeys(t *testing.T) {
	m, err := measure(pack(t, typed, onward))
	if err != nil {
		t.Fatal(err)
	}
	if m.Updates != 2 || m.RawBytes != len(typed)+len(onward) || m.CompactBytes != len(typed)+2 || m.Structs != 1 {
		t.Errorf("%+v", m)
	}
	line, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"updates", "rawBytes", "compactBytes", "structs", "applyNsPerUpdate", "encodeNs",
		"encodeCachedNs", "loadNs", "diffNs", "heapBytes"} {
		if !bytes.Contains(line, []byte(`"`+key+`":`)) {
			t.Errorf("no %s in %s", key, line)
		}
	}
}

func TestABadTraceIsNamedInTheError(t *testing.T) {
	for name, file := range map[string]string{
		"update 1": pack(t, typed, "\x01\x01"),
		"no such":  "no such.ylog.gz",
	} {
		if _, err := measure(file); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want it to name %q", err, name)
		}
	}
}

func TestAnswersAreWrittenForEveryCase(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "cases.jsonl"), filepath.Join(dir, "answers.jsonl")
	cases := []map[string]any{
		{"log": [][]byte{[]byte(onward), []byte(typed)}, "peers": []any{map[string]any{"sv": []byte("\x01\x01\x03")}}},
		{"id": 7, "log": [][]byte{}, "peers": []any{}},
	}
	f, err := os.Create(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if err := json.NewEncoder(f).Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	if err := run([]string{"answers", in, out}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got [2]answer
	for i, line := range bytes.Split(bytes.TrimSpace(b), []byte("\n")) {
		if err := json.Unmarshal(line, &got[i]); err != nil {
			t.Fatal(err)
		}
	}
	whole := "\x01\x01\x01\x00\x04\x01\x01t\x05abcde\x00"
	if a := got[0]; a.ID != 0 || string(a.State) != whole || string(a.SV) != "\x01\x01\x05" || len(a.Peers) != 1 || string(a.Peers[0]) != onward {
		t.Errorf("first answer %+v", a)
	}
	if a := got[1]; a.ID != 7 || string(a.State) != "\x00\x00" || string(a.SV) != "\x00" || len(a.Peers) != 0 {
		t.Errorf("second answer %+v", a)
	}
}

// Two agents type at once; then one of them, who has heard of both, goes on.
func TestForeignTracesBecomeYjsUpdates(t *testing.T) {
	for name, test := range map[string]struct {
		trace  string
		reload []string
		want   measurement
	}{
		"sequential": {
			trace: `{"startContent": "abc", "endContent": "abXYZ", "txns": [{"patches": [[3, 0, "X"], [2, 1, ""]]}, {"patches": [[3, 0, "YZ"]]}]}`,
			want:  measurement{Updates: 3, Structs: 3},
		},
		"reloaded": {
			trace:  `{"startContent": "", "endContent": "abcd", "txns": [{"patches": [[0, 0, "ab"]]}, {"patches": [[2, 0, "c"]]}, {"patches": [[3, 0, "d"]]}]}`,
			reload: []string{"2"},
			want:   measurement{Updates: 3, Structs: 2},
		},
		"concurrent": {
			trace: `{"kind": "concurrent", "endContent": "one, two!", "numAgents": 2, "txns": [
				{"parents": [], "agent": 0, "patches": [[0, 0, "one"]]},
				{"parents": [0], "agent": 1, "patches": [[3, 0, " two"]]},
				{"parents": [0], "agent": 0, "patches": [[3, 0, ","]]},
				{"parents": [1, 2], "agent": 1, "patches": [[8, 0, "!"]]}]}`,
			want: measurement{Updates: 4, Structs: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, "trace.json"), filepath.Join(dir, "trace.ylog.gz")
			if err := os.WriteFile(in, []byte(test.trace), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("node", append([]string{"convert.mjs", in, out}, test.reload...)...)
			cmd.Dir = "node"
			said, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(said), ", the trace's own final text") {
				t.Fatalf("%v\n%s", err, said)
			}
			m, err := measure(out)
			if err != nil {
				t.Fatal(err)
			}
			if m.Updates != test.want.Updates || m.Structs != test.want.Structs {
				t.Errorf("%d updates and %d structs, want %d and %d", m.Updates, m.Structs, test.want.Updates, test.want.Structs)
			}
		})
	}
}
