// Package version says which release a binary is, and which format its messages
// between pods have.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/wsnode/wsnode/relay/oplog"
)

// release is the version of a release that is built without its repository, set by
//
//	-ldflags "-X github.com/wsnode/wsnode/relay/version.release=v1.2.3"
//
// It goes before what the Go toolchain stamps.
var release string

// unknown is the version of a binary that nobody has stamped, such as one of go run.
const unknown = "devel"

// Info is what is known of a binary.
type Info struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`   // empty: built without its repository
	Modified bool   `json:"modified,omitempty"` // the working tree had changes
	Protocol int    `json:"protocol"`           // format version of messages between pods
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Read tells what this binary is.
func Read() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return read(release, build)
}

func read(release string, build *debug.BuildInfo) Info {
	stamped := strings.Trim(build.Main.Version, "()") // the toolchain writes "(devel)"
	i := Info{
		Version: cmp.Or(release, stamped, unknown), Protocol: oplog.Version,
		Go: build.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.modified":
			i.Modified = s.Value == "true"
		}
	}
	return i
}

// String describes the binary, a fact a line.
func (i Info) String() string {
	commit := cmp.Or(i.Commit, "unknown")
	if i.Modified {
		commit += ", with changes"
	}
	return fmt.Sprintf("version   %s\ncommit    %s\nprotocol  %d (between nodes)\ngo        %s %s\n", i.Version, commit, i.Protocol, i.Go, i.Platform)
}
