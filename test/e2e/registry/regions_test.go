package registry

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/test/e2e/cluster"
	"github.com/wsnode/wsnode/test/e2e/yjs"
)

// examples/two-regions/run.sh is what docs/operations.md tells operators to try.
func TestScriptRunsTwoRegionsWithTwoNATSClusters(t *testing.T) {
	t.Parallel()
	port := cluster.FreePorts(t, 21)
	bin := t.TempDir()
	for name, pkg := range map[string]string{"wsnode": "./cmd/wsnode", "issuer": "./examples/two-regions/issuer", "nats-server": "github.com/nats-io/nats-server/v2"} {
		if err := os.Symlink(cluster.Binary(t, pkg), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	script := cluster.Run(t, "two-regions", "env", fmt.Sprint("PORT=", port), "BIN="+bin, "DIR="+t.TempDir(), "examples/two-regions/run.sh")
	script.WaitLine(func(line string) bool { return line == "ready" })
	at := func(offset int) string { return fmt.Sprintf("127.0.0.1:%d", port+offset) }
	for _, url := range []string{"ws://" + at(6), "ws://" + at(16), "http://" + at(20) + "/dev/token"} {
		if !strings.Contains(script.Output(), url) {
			t.Errorf("%s is not in the output", url)
		}
	}

	clients := yjs.Start(t)
	for _, license := range []string{"aws-eu-west-1", "aws-us-east-1"} {
		a := cluster.Get(t, "http://"+at(20)+"/dev/token?dbCode="+license, "")
		options := yjs.Options{URL: "ws://" + at(6), Document: "doc", Token: string(a.Body)}
		first := clients.Join(options)
		first.Insert(0, "of "+license)
		options.URL = "ws://" + at(16)
		second := clients.Open(options)
		redirect := "REDIRECT:ws://" + at(6) + "/doc"
		if reason := second.WaitClosed(4009).Reason; reason != redirect {
			t.Errorf("the close reason of the other region is %q, expected %q", reason, redirect)
		}
		options.URL = strings.TrimPrefix(redirect, "REDIRECT:")
		clients.Join(options).WaitText("of " + license)
	}
	typeBlocks(t, strings.NewReplacer("127.0.0.1:4220", at(20), "127.0.0.1:4200", at(0), "127.0.0.1:4210", at(10), "127.0.0.1:4216", at(16)))
	script.Stop()
}

// typeBlocks runs what docs/operations.md has operators type beside the script,
// with the addresses of this run.
func typeBlocks(t *testing.T, here *strings.Replacer) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```bash\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 || blocks[0][1] != "examples/two-regions/run.sh\n" {
		t.Fatalf("expected the script and one block beside it: %q", blocks)
	}
	cmd := exec.Command("bash", "-ec", here.Replace(blocks[1][1]))
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(cluster.Binary(t, "./cmd/wsctl"))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "us-east-1-0") {
		t.Errorf("%s: %v\n%s", blocks[1][1], err, out)
	}
}

func TestDocumentsOfThreeRegionsInDevModeLiveInOneEach(t *testing.T) {
	t.Parallel()
	dev := cluster.DevConfig{Regions: []string{"eu-central-1", "eu-central-2", "us-east-1"}, Nodes: 1}.Start(t)
	clients, token := yjs.Start(t), dev.Token()
	for home := range dev.Regions {
		options := yjs.Options{URL: dev.WS(home, 0), Document: fmt.Sprint("doc-", home), Token: token}
		group := []*yjs.Client{clients.Join(options)}
		group[0].Insert(0, dev.Regions[home])
		for other := range dev.Regions {
			if other == home {
				continue
			}
			found := cluster.Discover(t, dev.HTTP(other, 0), token, options.Document)
			if expected := (cluster.Discovery{Region: dev.Regions[home], URL: dev.WS(home, 0) + "/" + options.Document}); found != expected {
				t.Errorf("%+v, expected %+v", found, expected)
			}
			abroad := options
			abroad.URL, abroad.Follow = dev.WS(other, 0), true
			c := clients.Join(abroad)
			if reason, expected := c.WaitClosed(4009).Reason, "REDIRECT:"+found.URL; reason != expected {
				t.Errorf("the close reason is %q, expected %q", reason, expected)
			}
			group = append(group, c)
		}
		for _, c := range group {
			c.WaitText(dev.Regions[home])
		}
	}
}
