package file_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/file"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
)

// With one of these the test's binary is another process that uses a directory.
const (
	tryVar   = "WSNODE_TEST_OPEN"  // opens it, and prints the outcome
	writeVar = "WSNODE_TEST_WRITE" // saves numbers into it for ever, and prints what is saved
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(tryVar); dir != "" {
		_, err := file.Open(context.Background(), file.Config{Dir: dir})
		fmt.Println(errors.Is(err, storage.ErrInUse))
		os.Exit(0)
	}
	if dir := os.Getenv(writeVar); dir != "" {
		fmt.Println(writeForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func another(t *testing.T, variable, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func open(t *testing.T, dir string) *file.Store {
	t.Helper()
	s, err := file.Open(t.Context(), file.Config{Dir: dir, Versions: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var todo = docid.Document{License: storagetest.License, Tenant: "acme", App: "notes", Name: "todo"}

func pathOf(dir string, d docid.Document) string {
	return filepath.Join(dir, filepath.FromSlash(storage.Spelling{MaxName: 200, LowerCase: true}.Key(d)))
}

func TestADirectoryKeepsTheContract(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	storagetest.Run(t, &storagetest.Harness{
		Store: s, Other: s, Versioned: s,
		Large: 100 << 20,
		Plant: func(d docid.Document, body []byte) error {
			path := pathOf(dir, d)
			return errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, body, 0o640))
		},
		Damage: func(d docid.Document) error {
			path := pathOf(dir, d)
			stat, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.Truncate(path, stat.Size()-1)
		},
	})
}

func TestBytesOfEqualLengthThatChangedAreCorrupt(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pathOf(dir, todo), []byte("tex!"), 0o640); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context(), todo, nil); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("load: %q, %v; expected ErrCorrupt", got.Body, err)
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, expected := range []string{"true", "false"} {
		out, err := another(t, tryVar, dir).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != expected {
			t.Errorf("refused: %q, %v; expected %s", got, err, expected)
		}
		if err := s.Close(); expected == "true" && err != nil {
			t.Fatal(err)
		}
	}
}

func TestASecondStoreInOneProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := file.Open(t.Context(), file.Config{Dir: dir}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("open: %v, expected ErrInUse", err)
	}
}

// A crash leaves what was renamed, and nothing else: the sidecar is, and the body
// is not yet.
func TestACrashBetweenSidecarAndBodyLeavesWhatWasThere(t *testing.T) {
	for _, size := range []int{5, 4} { // of other length than what is written, and of equal length
		dir := t.TempDir()
		s := open(t, dir)
		path, before := pathOf(dir, todo), []byte("before"[:size])
		v, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{Epoch: "one"}, before)
		if err != nil {
			t.Fatal(err)
		}
		for _, write := range []func() error{
			func() error {
				_, err := s.Save(t.Context(), todo, v, storage.Meta{Epoch: "two"}, []byte("next"))
				return err
			},
			func() error { _, err := s.Delete(t.Context(), todo, v, storage.Meta{Generation: 7}); return err },
		} {
			if err := errors.Join(write(), os.WriteFile(path, before, 0o640)); err != nil {
				t.Fatal(err)
			}
			got, err := s.Load(t.Context(), todo, nil)
			if err != nil || got.Version != v || got.Epoch != "one" {
				t.Fatalf("version %q of epoch %q, %v; expected %q of epoch one", got.Version, got.Epoch, err, v)
			}
		}
		if _, err := s.Save(t.Context(), todo, v, storage.Meta{}, []byte("after the crash")); err != nil {
			t.Error(err)
		}
	}
}

func TestACrashBeforeTheFirstBodyLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	v, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("text"))
	if err := errors.Join(err, os.Remove(pathOf(dir, todo))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), todo, nil); !errors.Is(err, storage.ErrAbsent) {
		t.Fatalf("load: %v, expected ErrAbsent", err)
	}
	again, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("text"))
	if err != nil || again != v {
		t.Fatalf("save: %q, %v; expected %q", again, err, v)
	}
	if _, err := s.Save(t.Context(), todo, v, storage.Meta{}, []byte("more")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(pathOf(dir, todo)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), todo, nil); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("load of a body that was removed: %v, expected ErrCorrupt", err)
	}
}

// writeForever saves 1, 2, 3 … of growing length and says what is saved.
func writeForever(dir string) error {
	ctx := context.Background()
	s, err := file.Open(ctx, file.Config{Dir: dir})
	if err != nil {
		return err
	}
	stored, err := s.Load(ctx, todo, nil)
	if err != nil && !errors.Is(err, storage.ErrAbsent) {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimLeft(string(stored.Body), "0"))
	version := stored.Version
	for {
		n++
		body := fmt.Appendf(nil, "%0*d", 20+n%3, n)
		if version, err = s.Save(ctx, todo, version, storage.Meta{Epoch: strconv.Itoa(n)}, body); err != nil {
			return err
		}
		fmt.Println("saved", n)
	}
}

func TestWhatWasSavedSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 8 {
		cmd := another(t, writeVar, dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		saved, lines := 0, bufio.NewScanner(out)
		for count := 0; lines.Scan(); count++ {
			text, ok := strings.CutPrefix(lines.Text(), "saved ")
			if !ok {
				t.Fatal(lines.Text())
			}
			saved, _ = strconv.Atoi(text)
			if count == 3+5*round {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		s := open(t, dir)
		got, err := s.Load(t.Context(), todo, nil)
		if err != nil {
			t.Fatalf("after %d: %v", saved, err)
		}
		n, err := strconv.Atoi(strings.TrimLeft(string(got.Body), "0"))
		if err != nil || n < saved || n > saved+1 || got.Epoch != strconv.Itoa(n) {
			t.Fatalf("body %q of epoch %s, saved last: %d", got.Body, got.Epoch, saved)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, ".wsnode", "tmp", "*")); err != nil || len(left) > 0 {
			t.Fatalf("left over: %v, %v", left, err)
		}
	}
}

func TestADirectoryWithoutPermissionIsARefusal(t *testing.T) {
	if os.Getuid() == 0 {
		// Root may write anywhere: an immutable place is what is left to refuse it.
		if _, err := file.Open(t.Context(), file.Config{Dir: "/proc/wsnode"}); err == nil {
			t.Error("a store was opened in /proc")
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(t.Context(), file.Config{Dir: filepath.Join(dir, "x")}); !errors.Is(err, storage.ErrRefused) {
		t.Errorf("open: %v, expected ErrRefused", err)
	}
}

func TestForeignFilesAreNotListed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("text")); err != nil {
		t.Fatal(err)
	}
	beside := filepath.Dir(pathOf(dir, todo))
	for _, name := range []string{"README", "Upper.yjs", "a.b.yjs", "=.yjs", "a==b.yjs", ".yjs.yjs"} {
		if err := os.WriteFile(filepath.Join(beside, name), []byte("x"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	page, err := s.List(t.Context(), storage.Query{})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Document != todo {
		t.Errorf("listed %+v, %v; expected the document alone", page.Entries, err)
	}
}
