package store

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/relay/control"
	"github.com/wsnode/wsnode/relay/storage"
)

var versionColumns = []console.Column[control.StoreVersion]{
	console.Shown("VERSION", func(v control.StoreVersion) string { return v.ID }),
	console.Shown("WRITTEN", func(v control.StoreVersion) string { return console.Stamp(v.Time) }),
	console.Shown("REPLACED", func(v control.StoreVersion) string { return console.Stamp(v.Replaced) }),
	console.Shown("SIZE KIB", func(v control.StoreVersion) string { return console.KiB(v.Size) }),
}

func versionsStoreCommand(c *command.Env) *cobra.Command {
	cmd := storeDocCommand(c, "versions DOCUMENT", "List the former versions of a stored document", []string{"DOCUMENT"},
		func(cmd *cobra.Command, n storeNode, d control.Document, _ []string) error {
			return console.PrintRows(c.Console, versionColumns, n.StoreVersions(cmd.Context(), n.Node, d))
		})
	cmd.Long = `List what a store keeps of a document's former versions, the newest first: copies by
a store with ?versions= in its URL, one for each hour in which the document was
stored, and what a bucket with versioning keeps by itself. wsctl store get --at
and --version read them.

Nothing puts a version back in its document's place: clients have what came after,
and would merge it in again. Put it under a new name, and have your users go there:

  wsctl store get aws-eu-west-1/acme/notes/todo --at 36h -f then.yjs
  wsctl store put aws-eu-west-1/acme/notes/todo-restored then.yjs --create`
	return cmd
}

// versionFlags choose a version of a document. None is the present one.
type versionFlags struct{ at, version string }

func (f *versionFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.at, "at", "", "as it was at a time: 2026-11-30T09:00:00Z, or 36h for so long ago")
	cmd.Flags().StringVar(&f.version, "version", "", "a version that wsctl store versions lists")
	cmd.MarkFlagsMutuallyExclusive("at", "version")
}

// time reads --at.
func (f *versionFlags) time(now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(f.at); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, f.at)
	if err != nil || at.After(now) {
		return time.Time{}, exit.WrongFlag("at", "%q: expected a time that is over, such as 2026-11-30T09:00:00Z, or how long ago, such as 36h", f.at)
	}
	return at, nil
}

// find returns the id of the chosen version; "" is the present one.
func (f *versionFlags) find(ctx context.Context, n storeNode, d control.Document) (string, error) {
	if f.at == "" {
		return f.version, nil
	}
	at, err := f.time(time.Now())
	if err != nil {
		return "", err
	}
	var copies []storage.Copy
	for v, err := range n.StoreVersions(ctx, n.Node, d) {
		if err != nil {
			return "", err
		}
		copies = append(copies, storage.Copy{ID: v.ID, Time: v.Time, Replaced: v.Replaced, Size: v.Size})
	}
	present, err := n.Stored(ctx, n.Node, d)
	if err != nil {
		return "", err
	}
	if present.State != control.StoredBody {
		present.Time = time.Time{}
	}
	c, _, err := storage.CopyAt(copies, present.Time, at)
	if errors.Is(err, storage.ErrAbsent) {
		return "", exit.With(exit.NotFound, "%s: nothing is kept of it from %s or before; wsctl store versions lists what is", d, console.Stamp(at))
	}
	return c.ID, err
}
