package wsctl

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/wait"
)

// shellBlock is a block of commands, also within a list.
var shellBlock = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")

func TestTheCommandsInOperationsWork(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldWith(t, "300s") // documents that were left are still there when they are released
	w.join(w.eu1, "todo", "milk")
	w.join(w.eu2, "todo", "")
	w.join(w.eu1, "spam", "")
	for _, document := range []string{"old", "orphan"} {
		w.join(w.eu1, document, "").Destroy()
	}
	cluster.Shake(t, w.eu2.Addr, "/todo", nil)
	wait.Until(t, "nobody has old and orphan open any more", func() bool {
		return strings.Count(w.ctl("pins", "list", "--state", "grace").out, "notes/o") == 2
	})

	here := strings.NewReplacer(
		"nats://127.0.0.1:4222", w.euNATS, "http://127.0.0.1:8080", w.eu1.HTTP(), "ws://127.0.0.1:8080", w.eu1.WS(), "http://127.0.0.1:8222", w.monitor,
		"eu-1/ijb2wxb20x", w.sessions("--document", "todo", "--node", "eu-1")[0].Session,
	)
	lines := 0
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); line != "" {
				lines++
				w.typeLine(here.Replace(line))
			}
		}
	}
	if lines < 40 {
		t.Errorf("only %d commands were found", lines)
	}
}

// typeLine runs a line of shell; what watches is interrupted after a moment, in which
// it is up on a busy machine, too.
func (w *world) typeLine(line string) {
	w.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("sh", "-c", "exec "+line)
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.dir, &out, &out
	cmd.Env = append(w.env(), "PATH="+filepath.Dir(cluster.Binary(w.t, "./cmd/wsctl"))+":"+os.Getenv("PATH"))
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	if strings.Contains(line, "watch") {
		time.AfterFunc(5*time.Second, func() { cmd.Process.Signal(syscall.SIGINT) })
	}
	if err := cmd.Wait(); err != nil {
		w.t.Errorf("%s: %v\n%s", line, err, out.Bytes())
	}
}
