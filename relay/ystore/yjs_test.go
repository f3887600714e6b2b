package ystore

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// yjs returns the folder of the Node programs, with real Yjs installed.
func yjs(t *testing.T) string {
	t.Helper()
	node := filepath.Join(corpus, "node")
	if _, err := os.Stat(filepath.Join(node, "node_modules", "yjs", "package.json")); err != nil {
		cmd := exec.Command("npm", "ci")
		cmd.Dir = node
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("install real Yjs: npm ci in %s: %v\n%s", node, err, out)
		}
	}
	return node
}

func TestAnswersToTheOpenCasesPassTheChecker(t *testing.T) {
	node := yjs(t)
	cases := dataFile(t, "random-open.jsonl.gz").Name()
	answers := filepath.Join(t.TempDir(), "answers.jsonl")
	if out, err := exec.Command("go", "run", "../../test/corpus", "answers", cases, answers).CombinedOutput(); err != nil {
		t.Fatalf("corpus answers: %v\n%s", err, out)
	}
	out, err := exec.Command("node", filepath.Join(node, "check.mjs"), cases, answers).CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "OK") {
		t.Fatalf("check.mjs: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// WSNODE_SOAK names the number of random histories, 20000 for a soak;
// WSNODE_SEED the first of them.
func TestRealClientsConvergeAroundTheStore(t *testing.T) {
	r := histories(t, "histories.mjs", 300, false)
	t.Logf("%d bytes, Yjs %d", r.Bytes, r.YjsBytes)
}

func TestYjs14ClientsWithSuggestionsConvergeAroundTheStore(t *testing.T) {
	r := histories(t, "suggestions.mjs", 250, false)
	t.Logf("in %d of them something stays open", r.Open)
	if r.Open*10 < r.Histories {
		t.Error("hardly any suggestion stays open: the histories show nothing")
	}
}

func TestClientsRestoreEverySnapshotFromAStoreThatKeeps(t *testing.T) {
	r := histories(t, "kept.mjs", 50, true)
	t.Logf("%d snapshots; %d bytes, Yjs with gc %d", r.Open, r.Bytes, r.YjsBytes)
	if r.Open < r.Histories {
		t.Error("hardly any snapshot: the histories show nothing")
	}
}

// outcome is what a script says of its histories.
type outcome struct {
	Histories, Dropped, Open int
	Bytes, YjsBytes          int
	Failed                   [][2]any
}

// histories has a script tell its random histories around a store of ours, which may
// keep what is deleted.
func histories(t *testing.T, script string, count int, keeps bool) (result outcome) {
	t.Helper()
	first := 1
	for name, v := range map[string]*int{"WSNODE_SOAK": &count, "WSNODE_SEED": &first} {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			*v = n
		}
	}
	cmd := exec.Command("node", script, strconv.Itoa(first), strconv.Itoa(count))
	cmd.Dir = yjs(t)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	verdict := serve(bufio.NewReaderSize(out, 1<<20), in, keeps)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("node: %v", err)
	}
	if err := json.Unmarshal([]byte(verdict), &result); err != nil {
		t.Fatalf("verdict %q: %v", verdict, err)
	}
	t.Logf("%d histories from seed %d, in %d of them Yjs disagrees with itself", result.Histories, first, result.Dropped)
	for _, f := range result.Failed {
		t.Errorf("seed %v: %v", f[0], f[1])
	}
	if result.Dropped*10 > result.Histories {
		t.Errorf("too many histories dropped")
	}
	return result
}

// serve answers the questions of histories.mjs until its verdict, which it
// returns. After each change it checks the store, and a replica that hears only
// what was new. Clients are sent only what is ready.
func serve(in *bufio.Reader, out io.Writer, keeps bool) string {
	var s, replica *Store
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "{") {
			return line
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := base64.StdEncoding.DecodeString(arg)
		answer := "ok"
		switch {
		case err != nil:
		case verb == "new":
			s, replica = New(Limits{}), New(Limits{})
			s.keep, replica.keep = keeps, keeps
		case verb == "apply":
			answer, err = applyChecked(s, replica, b)
		case verb == "diff":
			b, err = s.Diff(b)
			answer = base64.StdEncoding.EncodeToString(b)
		case verb == "sv":
			answer = base64.StdEncoding.EncodeToString(s.StateVector())
		case verb == "state":
			answer = base64.StdEncoding.EncodeToString(s.Encode())
			err = verify(s)
		}
		if err != nil {
			answer = "! " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Fprintln(out, answer)
	}
}

func applyChecked(s, replica *Store, update []byte) (string, error) {
	brings, err := s.Brings(update)
	if err != nil {
		return "", err
	}
	fresh, deliver, err := s.ApplyShared(update, Terms{Limited: true})
	if err != nil {
		return "", err
	}
	if err := verify(s); err != nil {
		return "", err
	}
	if brings != (fresh != nil) {
		return "", fmt.Errorf("Brings says %v, Apply returns %d bytes", brings, len(fresh))
	}
	if fresh == nil {
		return "-", nil
	}
	if again, err := replica.Apply(fresh); err != nil || again == nil {
		return "", fmt.Errorf("what was new brings a replica %d bytes: %v", len(again), err)
	}
	if string(replica.StateVector()) != string(s.StateVector()) || replica.DeleteDigest() != s.DeleteDigest() {
		return "", fmt.Errorf("a replica that hears what was new differs")
	}
	return base64.StdEncoding.EncodeToString(deliver), verify(replica)
}
