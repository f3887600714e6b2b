package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startPatience bounds how long a process may take until it can be used, on a
// machine that is busy with other tests: with go run, it is compiled first.
const startPatience = 3 * time.Minute

// exitPatience bounds how long an orderly end may take on such a machine.
const exitPatience = 2 * time.Minute

// Process is a running program whose output is kept. When its test fails, the
// output is written to test/artifacts.
type Process struct {
	Name   string
	tb     testing.TB
	cmd    *exec.Cmd
	output output
	exited chan struct{} // closed when the process is gone; err is set then
	err    error
}

// output collects what a process prints and wakes who waits for a line.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{} // closed and replaced at each write
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grown != nil {
		close(o.grown)
	}
	o.grown = make(chan struct{})
	return o.buf.Write(p)
}

// read returns all output so far, and a channel that is closed when there is more.
func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.grown == nil {
		o.grown = make(chan struct{})
	}
	return o.buf.String(), o.grown
}

// Run starts a program. It must have ended or be able to end in an orderly way
// on SIGINT when the test ends.
func Run(tb testing.TB, name, path string, args ...string) *Process {
	tb.Helper()
	p := &Process{Name: name, tb: tb, exited: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir = Root()
	p.cmd.Stdout = &p.output
	p.cmd.Stderr = &p.output
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	tb.Cleanup(p.cleanup)
	return p
}

func (p *Process) cleanup() {
	p.Stop()
	out := p.Output()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(out, bad) {
			p.tb.Errorf("%s printed %q", p.Name, bad)
		}
	}
	if p.tb.Failed() {
		p.keep(out)
	}
}

// keep writes the output where it can be looked at after the run.
func (p *Process) keep(out string) {
	dir := filepath.Join(Root(), "test", "artifacts", strings.ReplaceAll(p.tb.Name(), "/", "_"))
	file := filepath.Join(dir, fmt.Sprintf("%s-%d.log", p.Name, p.cmd.Process.Pid))
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(out), 0o644)
	}
	if err != nil {
		p.tb.Errorf("keep the output of %s: %v", p.Name, err)
		return
	}
	const tail = 3000
	p.tb.Logf("%s (all of it in test/artifacts): …%s", p.Name, out[max(0, len(out)-tail):])
}

// Output returns all that the process printed so far.
func (p *Process) Output() string {
	out, _ := p.output.read()
	return out
}

// WaitLine waits until the process printed a line for which match is true.
func (p *Process) WaitLine(match func(line string) bool) {
	p.tb.Helper()
	deadline := time.After(startPatience)
	for {
		out, grown := p.output.read()
		for line := range strings.Lines(out) {
			if strings.HasSuffix(line, "\n") && match(strings.TrimRight(line, "\r\n")) {
				return
			}
		}
		select {
		case <-grown:
		case <-p.exited:
			p.tb.Fatalf("%s ended too early: %v\n%s", p.Name, p.err, p.Output())
		case <-deadline:
			p.tb.Fatalf("%s did not print the awaited line:\n%s", p.Name, p.Output())
		}
	}
}

// Stop ends the process as Ctrl-C does, checks that it ends without an error, and
// returns how long that took. Stopping an ended process does nothing.
func (p *Process) Stop() time.Duration {
	p.tb.Helper()
	select {
	case <-p.exited:
		return 0
	default:
	}
	start := time.Now()
	p.Interrupt()
	select {
	case <-p.exited:
		if p.err != nil {
			p.tb.Errorf("%s ended with: %v", p.Name, p.err)
		}
	case <-time.After(exitPatience):
		p.tb.Errorf("%s did not end within %v of SIGINT", p.Name, exitPatience)
		p.signal(syscall.SIGQUIT) // prints what its goroutines do instead
		select {
		case <-p.exited:
		case <-time.After(time.Second):
			p.Kill()
		}
	}
	return time.Since(start)
}

// Interrupt sends SIGINT, as Ctrl-C does.
func (p *Process) Interrupt() {
	p.tb.Helper()
	if err := p.signal(syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.tb.Errorf("interrupt %s: %v", p.Name, err)
	}
}

// Terminate sends SIGTERM, as orchestrators do.
func (p *Process) Terminate() {
	p.tb.Helper()
	if err := p.signal(syscall.SIGTERM); err != nil {
		p.tb.Errorf("terminate %s: %v", p.Name, err)
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process at once, as kill -9 does.
func (p *Process) Kill() {
	p.tb.Helper()
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// signal reaches the process and its children, as a terminal does.
func (p *Process) signal(s syscall.Signal) error {
	return syscall.Kill(-p.cmd.Process.Pid, s)
}

// Wait waits until the process has ended by itself and returns its exit code.
func (p *Process) Wait() int {
	p.tb.Helper()
	select {
	case <-p.exited:
	case <-time.After(startPatience):
		p.tb.Fatalf("%s did not end:\n%s", p.Name, p.Output())
	}
	return p.cmd.ProcessState.ExitCode()
}
