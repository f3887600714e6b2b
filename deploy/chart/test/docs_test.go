package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/strvals"
)

const root = "../../.."

// commands are the lines of a page's sh blocks.
func commands(t *testing.T, page string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	return lines
}

// words splits a line as a shell does, as far as these pages go.
func words(line string) (all []string) {
	for _, w := range regexp.MustCompile(`'[^']*'|[^ ]+`).FindAllString(line, -1) {
		all = append(all, strings.Trim(w, "'"))
	}
	return all
}

// helm does what a command of helm does, without a cluster.
func helm(t *testing.T, args []string) {
	t.Helper()
	if args[0] == "repo" || args[0] == "test" {
		return
	}
	values, ours := chartutil.Values{}, args[2] == "deploy/chart"
	for i, arg := range args[3:] {
		switch arg {
		case "--values", "--set", "--set-file":
		default:
			continue
		}
		value := args[3:][i+1]
		var err error
		switch arg {
		case "--values":
			values, err = chartutil.ReadValuesFile(filepath.Join(root, value))
		case "--set":
			err = strvals.ParseInto(value, values)
		case "--set-file":
			_, file, _ := strings.Cut(value, "=")
			_, err = os.Stat(filepath.Join(root, file))
		}
		if err != nil {
			t.Errorf("helm %q: %v", args, err)
		}
	}
	if ours {
		render(t, values)
	}
}

// writeKey makes the key that the page has openssl make, which need not be here.
func writeKey(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheCommandsOfThePageOnInstallingWork(t *testing.T) {
	taskfile, err := os.ReadFile(filepath.Join(root, "Taskfile.yml"))
	if err != nil {
		t.Fatal(err)
	}
	lines := commands(t, "docs/install.md")
	if len(lines) < 10 {
		t.Fatalf("%d commands", len(lines))
	}
	wsctl := program(t, "wsctl", "./cmd/wsctl")
	dir := t.TempDir()
	for _, line := range lines {
		switch w := words(line); w[0] {
		case "helm":
			helm(t, w[1:])
		case "openssl":
			writeKey(t, filepath.Join(dir, w[len(w)-1]))
		case "wsctl": // nothing of it reaches beyond the folder
			cmd := exec.Command("sh", "-c", line)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Dir(wsctl)+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		case "go":
			name := w[slices.Index(w, "task")+1]
			if !strings.Contains(string(taskfile), "\n  "+name+":\n") {
				t.Errorf("%s: no such task", line)
			}
		case "kubectl", "skopeo", "docker", "curl":
		default:
			t.Errorf("%s: is that a command?", line)
		}
	}
}
