package differential

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// trial is a history as a store took it, for Yjs to judge: see judge.mjs.
type trial struct {
	Raw   [][]byte `json:"raw"`
	Ready [][]byte `json:"ready"`
	Early []byte   `json:"early"`
	State []byte   `json:"state"`
	Whole bool     `json:"whole"`
	Tidy  bool     `json:"tidy"`

	Straight bool `json:"straight"`
}

type verdict struct {
	Throws  [][2]string `json:"throws"`
	Waits   []string    `json:"waits"`
	Differs []string    `json:"differs"`
	Unsure  bool        `json:"unsure"`
	Again   []byte      `json:"again"`
}

// judge is a Node process with one version of Yjs.
type judge struct {
	version string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// versions are the packages that clients use.
var versions = []string{"yjs", "@y/y"}

func startJudge(tb testing.TB, version string) *judge {
	tb.Helper()
	if _, err := os.Stat(filepath.Join("node", "node_modules", "yjs", "package.json")); err != nil {
		cmd := exec.Command("npm", "ci")
		cmd.Dir = "node"
		if out, err := cmd.CombinedOutput(); err != nil {
			tb.Fatalf("install real Yjs: npm ci: %v\n%s", err, out)
		}
	}
	j := &judge{version: version, cmd: exec.Command("node", "judge.mjs", version)}
	j.cmd.Dir = "node"
	j.cmd.Stderr = os.Stderr
	var err error
	if j.in, err = j.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	j.out = bufio.NewReaderSize(out, 1<<16)
	if err := j.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return j
}

// stop ends the process, which may hang.
func (j *judge) stop() {
	j.in.Close()
	hung := time.AfterFunc(10*time.Second, func() { j.cmd.Process.Kill() })
	j.cmd.Wait()
	hung.Stop()
}

// patience is how long one trial may take: Yjs may be sent round for ever.
const patience = 2 * time.Minute

// judge returns the verdicts on some trials, in their order; fewer than there are
// trials if the process hung or died in the next one.
func (j *judge) judge(trials []trial) (verdicts []verdict, err error) {
	go func() {
		w := bufio.NewWriterSize(j.in, 1<<16)
		enc := json.NewEncoder(w)
		for _, t := range trials {
			if enc.Encode(t) != nil {
				return // the reader says why
			}
		}
		w.Flush()
	}()
	for range trials {
		hung := time.AfterFunc(patience, func() { j.cmd.Process.Kill() })
		line, err := j.out.ReadBytes('\n')
		hung.Stop()
		if err != nil {
			return verdicts, fmt.Errorf("%s hangs or died: %w", j.version, err)
		}
		var v verdict
		if err := json.Unmarshal(line, &v); err != nil {
			return verdicts, fmt.Errorf("answer %.200q: %w", line, err)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}
