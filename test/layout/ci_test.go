package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testCommand is what the README tells strangers to type.
const testCommand = "go tool -modfile=tools.mod task test"

func TestCIRunsTheTestCommandOfTheREADME(t *testing.T) {
	for file, line := range map[string]string{
		"../../README.md":                  "```sh\n" + testCommand + "\n```",
		"../../.ci/run":                    "\n" + testCommand + " </dev/null\n",
		"../../.github/workflows/test.yml": "- run: .ci/run\n",
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), line) {
			t.Errorf("%s lacks %q", file, line)
		}
	}
}

// checkout makes a repository of one commit with .ci/run, and a go command that
// tells what it sees instead of testing.
func checkout(t *testing.T, goCommand string) (run *exec.Cmd, dir string) {
	t.Helper()
	top := t.TempDir()
	dir, bin := filepath.Join(top, "checkout"), filepath.Join(top, "bin")
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		filepath.Join(dir, ".ci", "run"):   string(script),
		filepath.Join(dir, "committed"):    "as committed",
		filepath.Join(top, "shared", "it"): "beside the repository",
		filepath.Join(bin, "go"):           "#!/bin/sh\n" + goCommand,
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "."}, {"-c", "commit.gpgsign=false", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "all of it"},
	} {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	temp := filepath.Join(top, "temp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	run = exec.Command(filepath.Join(dir, ".ci", "run"))
	run.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "TMPDIR="+temp)
	t.Cleanup(func() {
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf(".ci/run left %v behind, %v", left, err)
		}
	})
	return run, dir
}

func TestCITestsWhatIsCommittedWithNothingBesideIt(t *testing.T) {
	run, dir := checkout(t, `echo "called: go $*"; echo "beside it: $(ls -A ..)"; cat committed`)
	if err := os.WriteFile(filepath.Join(dir, "committed"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{
		"called: " + testCommand + "\n", "beside it: wsnode\n", "as committed",
		"changes that are not committed; they are not tested:\n M committed\n",
	} {
		if !strings.Contains(string(out), line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
}

func TestCIFailsWithTheTests(t *testing.T) {
	run, _ := checkout(t, "exit 7")
	out, err := run.CombinedOutput()
	if run.ProcessState.ExitCode() == 0 || strings.Contains(string(out), "not committed") {
		t.Errorf("%v\n%s", err, out)
	}
}
