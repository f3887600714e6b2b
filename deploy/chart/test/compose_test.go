package test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// program is one of the test command's programs, or one that is built here.
func program(t testing.TB, name, path string) string {
	t.Helper()
	if dir := os.Getenv("WSNODE_E2E_BINARIES"); dir != "" {
		return filepath.Join(dir, name)
	}
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("go", "-C", root, "build", "-o", binary, path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func compose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	// It checks the file against the schema of the Compose Specification.
	p, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeStartsWhatANewcomerNeeds(t *testing.T) {
	p := compose(t)
	for _, name := range []string{"node", "nats", "store", "app", "keys"} {
		if _, err := p.GetService(name); err != nil {
			t.Error(err)
		}
	}
	pinned := regexp.MustCompile(`:[a-z]?[0-9][a-z0-9.-]*$`)
	for name, s := range p.Services {
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s is of %q, which is no version", name, s.Image)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s opens %s to the network, without TLS and with known passwords", name, port.Published)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume && p.Volumes[v.Source].Name == "" {
				t.Errorf("%s: no volume %s", name, v.Source)
			}
			if v.Type == types.VolumeTypeBind {
				if _, err := os.Stat(v.Source); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestTheNodeOfComposeHasSettingsThatExist(t *testing.T) {
	p := compose(t)
	node, known := p.Services["node"], variables(t)
	if !slices.Equal(node.Command, types.ShellCommand{"serve"}) {
		t.Errorf("%q", node.Command)
	}
	for name := range node.Environment {
		if strings.HasPrefix(name, "WSNODE_") && !slices.Contains(known, name) {
			t.Errorf("wsnode serve has no $%s", name)
		}
	}
	// What it connects to is there, and what it says to the store is what the store takes.
	host := regexp.MustCompile(`://([a-z]+):[0-9]+`)
	for _, name := range []string{"WSNODE_NATS_URL", "WSNODE_STORE"} {
		value := *node.Environment[name]
		m := host.FindStringSubmatch(value)
		if m == nil {
			t.Fatalf("%s names no host", value)
		}
		if _, there := p.Services[m[1]]; !there || node.DependsOn[m[1]].Condition == "" {
			t.Errorf("%s names %s, which is not started before", value, m[1])
		}
	}
	store := p.Services["store"]
	if *node.Environment["AWS_ACCESS_KEY_ID"] != *store.Environment["ROOT_ACCESS_KEY"] || *node.Environment["AWS_SECRET_ACCESS_KEY"] != *store.Environment["ROOT_SECRET_KEY"] {
		t.Error("the store has other credentials than the node")
	}
	if bucket := regexp.MustCompile(`s3://([a-z]+)`).FindStringSubmatch(*node.Environment["WSNODE_STORE"])[1]; !strings.Contains(store.Entrypoint[2], "/data/"+bucket+" ") {
		t.Errorf("no bucket %s", bucket)
	}
	// One key for the node, the app and by hand.
	for _, pair := range [][2]string{{"node", *node.Environment["WSNODE_JWKS_FILE"]}, {"app", *p.Services["app"].Environment["KEY"]}} {
		if !slices.ContainsFunc(p.Services[pair[0]].Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Source == "keys" && strings.HasPrefix(pair[1], v.Target+"/")
		}) {
			t.Errorf("%s does not have %s", pair[0], pair[1])
		}
	}
}

func TestTheNATSOfComposeTakesItsConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(compose(t).Configs["nats"].Content), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program(t, "nats-server", "github.com/nats-io/nats-server/v2"), "-t", "-c", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheKeysOfComposeAreMadeOnceAndSignTokens(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var before string
	for range 2 {
		if out, err := exec.Command("node", filepath.Join(root, "examples/tokens/keys.mjs"), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if now := read("operator.pem"); before != "" && now != before {
			t.Error("the second start makes another key")
		} else {
			before = now
		}
	}
	said, err := exec.Command(program(t, "wsctl", "./cmd/wsctl"), "token", "jwks", "--key", filepath.Join(dir, "operator.pem")).Output()
	if err != nil {
		t.Fatal(err)
	}
	kid := regexp.MustCompile(`"kid": ?"([^"]+)"`)
	if ours, theirs := kid.FindStringSubmatch(string(said)), kid.FindStringSubmatch(read("jwks.json")); ours == nil || theirs == nil || ours[1] != theirs[1] {
		t.Errorf("%q and %q name the key differently", ours, theirs)
	}
}
