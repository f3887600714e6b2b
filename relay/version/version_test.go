package version

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/wsnode/wsnode/relay/oplog"
)

func TestAReleasesNameGoesBeforeTheStampOfTheToolchain(t *testing.T) {
	for _, c := range []struct{ release, stamped, expected string }{
		{"", "", "devel"},
		{"", "(devel)", "devel"},
		{"", "v0.1.1-0.20260101000000-abcdef012345+dirty", "v0.1.1-0.20260101000000-abcdef012345+dirty"},
		{"v1.2.3", "(devel)", "v1.2.3"},
		{"v1.2.3", "v1.2.2", "v1.2.3"},
	} {
		build := &debug.BuildInfo{Main: debug.Module{Version: c.stamped}}
		if got := read(c.release, build).Version; got != c.expected {
			t.Errorf("release %q, stamped %q: %q, expected %q", c.release, c.stamped, got, c.expected)
		}
	}
}

func TestTheCommitIsToldAndWhetherItWasChanged(t *testing.T) {
	build := &debug.BuildInfo{GoVersion: "go1.26", Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "c949dad"}, {Key: "vcs.modified", Value: "true"},
	}}
	i := read("v1.2.3", build)
	if i.Commit != "c949dad" || !i.Modified || i.Protocol != oplog.Version || i.Go != "go1.26" {
		t.Errorf("%+v", i)
	}
	for _, line := range []string{"version   v1.2.3\n", "commit    c949dad, with changes\n", "protocol  2 (between nodes)\n"} {
		if !strings.Contains(i.String(), line) {
			t.Errorf("no %q in\n%s", line, i)
		}
	}
	if said := read("", &debug.BuildInfo{}).String(); !strings.Contains(said, "commit    unknown\n") {
		t.Error(said)
	}
}
