package store

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// importFlags say what is imported, and where to.
type importFlags struct {
	store       storeFlags
	put         putFlags
	from, query string
	tenant, app string
	parallel    int
}

// source is where the documents are, and what reads them there. sure says that nothing is
// to be confirmed.
func (f *importFlags) source(path string, sure bool) (string, foreign.Reader, error) {
	if scheme, _, isURL := strings.Cut(f.from, "://"); isURL && path == "" {
		path, f.from = f.from, strings.Replace(scheme, "postgresql", "postgres", 1)
	}
	read, ok := foreign.Readers[f.from]
	switch {
	case !ok:
		return "", nil, exit.WrongFlag("from", "%q: expected one of %s", storage.Redact(f.from), strings.Join(slices.Sorted(maps.Keys(foreign.Readers)), ", "))
	case path == "":
		return "", nil, exit.With(exit.Usage, "expected the path or URL that --from %s reads", f.from)
	case path == "-" && !sure && !f.put.dryRun:
		return "", nil, exit.WrongFlag("yes", "missing: nobody can answer where the archive is on standard input")
	case (f.from == "postgres") != (f.query != ""):
		return "", nil, exit.WrongFlag("query", "expected beside --from postgres, and only there: select the name and a Yjs V1 update")
	case (f.from == "postgres" || f.from == "hocuspocus-sqlite") && (f.tenant == "" || f.app == ""):
		return "", nil, exit.WrongFlag("tenant", "missing: expected --tenant and --app, whose documents these are to be")
	}
	if f.parallel < 1 || f.parallel > 64 {
		return "", nil, exit.WrongFlag("parallel", "%d: expected 1 to 64", f.parallel)
	}
	return path, read, nil
}

func importStoreCommand(c *command.Env) *cobra.Command {
	var f importFlags
	var sure console.ConfirmFlag
	cmd := &cobra.Command{
		Use:   "import --from KIND PATH",
		Short: "Merge the documents of an export, or of another server, into the store",
		Long: `Merge documents into the store, from one of

  dir DIR, tar FILE         what wsctl store export wrote; - is standard input
  hocuspocus-sqlite FILE    the database of Hocuspocus' SQLite extension
  s3 s3://BUCKET/PREFIX     objects of Hocuspocus' S3 extension, or of y-sweet; URLs
                            are those of --store, credentials of the environment
  postgres postgres://...   the rows of --query: the name, and a Yjs V1 update

In folders, archives and buckets these files are documents: dbCode/tenant/app/NAME.yjs
and tenant/app/NAME.yjs, with NAME spelled as docs/storage.md says; NAME.bin, and
NAME/data.ysweet of y-sweet, with the name as it is. Names of other servers have no
tenant and no app: --tenant and --app say which. LevelDB of y-websocket:
examples/leveldb writes an archive.

Nothing is replaced, so it can be interrupted and run again, and over newer content:
what is there already is left as it is. Documents that the export says are deleted
are deleted first, unless --undelete is given. Names that nodes would refuse, or take
for another document (x/x is x), are listed and not written; --dry-run lists them
and writes nothing.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, read, err := f.source(strings.Join(args, ""), sure.Yes)
			if err != nil {
				return err
			}
			if !f.put.dryRun {
				if err := c.Confirm(&sure, "Merge the documents of %s into the store?", storage.Redact(path)); err != nil {
					return err
				}
			}
			return c.Clusters.WithFleet(func(fl *reach.Fleet) error {
				nodes, err := storeNodes(cmd.Context(), fl, &f.store, "")
				if err != nil {
					return err
				}
				i := &importing{c: c, f: &f, nodes: nodes, seen: map[docid.Document]string{}}
				return i.run(cmd.Context(), read(cmd.Context(), foreign.Place{Path: path, Query: f.query, In: c.In}))
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "what PATH is: dir, tar, hocuspocus-sqlite, s3 or postgres")
	fl.StringVar(&f.query, "query", "", "what --from postgres selects: the name, and a Yjs V1 update of it")
	fl.StringVar(&f.tenant, "tenant", "", "tenant of documents that name none")
	fl.StringVar(&f.app, "app", "", "app of documents that name none")
	fl.IntVar(&f.parallel, "parallel", 8, "documents that are sent at the same time")
	f.store.registerAll(c, cmd, "license region (dbCode) that the documents get, also if they name another (default: theirs, or the only one that has a store)")
	f.put.register(cmd)
	sure.Register(cmd)
	return cmd
}
