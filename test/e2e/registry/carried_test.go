package registry

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

func TestDocumentsOfASocketFollowTheirHomesAndTheOthersNoticeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, 1)
	defer w.stop()
	cmd := exec.CommandContext(t.Context(), "node", "carried.mjs")
	cmd.Dir = "../providers/node"
	cmd.Env = append(os.Environ(), "NODES="+w.us.front.WS()+" "+w.eu.front.WS(), "TOKEN="+w.token)
	cmd.Stderr = t.Output()
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
	lines := bufio.NewScanner(out)
	hear := func(what string) string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("%s: %v", what, cmd.Wait())
		}
		return lines.Text()
	}
	say := func(what string) string {
		t.Helper()
		if _, err := fmt.Fprintln(in, what); err != nil {
			t.Fatal(err)
		}
		return hear(what)
	}
	hear("all are in")
	say("go on")
	w.eu.nodes[0].Kill()
	say("go on")
	w.eu.nodes[1].Stop()
	say("go on")
	t.Log(say("end"))
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
