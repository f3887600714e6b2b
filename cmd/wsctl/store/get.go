package store

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/wsnode/wsnode/cmd/wsctl/command"
	"github.com/wsnode/wsnode/cmd/wsctl/console"
	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/cmd/wsctl/foreign"
	"github.com/wsnode/wsnode/cmd/wsctl/reach"
	"github.com/wsnode/wsnode/relay/control"
)

func getStoreCommand(c *command.Env) *cobra.Command {
	var file string
	var force bool
	var v versionFlags
	cmd := storeDocCommand(c, "get DOCUMENT", "Write what is stored of a document to a file that Y.applyUpdate reads", []string{"DOCUMENT"},
		func(cmd *cobra.Command, n storeNode, d control.Document, _ []string) error {
			version, err := v.find(cmd.Context(), n, d)
			if err != nil {
				return err
			}
			fetch := func(w io.Writer) error {
				p := c.Progress("read", d.String())
				defer p.End()
				done := 0
				return n.Fetch(cmd.Context(), n.Node, d, version, func(part []byte, size int) error {
					done += len(part)
					p.Bytes(done, size)
					_, err := w.Write(part)
					return err
				})
			}
			var size int64
			if file == "-" {
				err = fetch(c.Out)
			} else if size, err = foreign.WriteFile(file, force, fetch); err == nil {
				c.Done("wrote %s, %s, from the store of %s", file, console.Bytes(size), d.License)
			}
			if reach.IsGone(err) {
				err = exit.With(exit.NotFound, "%w", err)
			}
			return err
		})
	cmd.Flags().StringVarP(&file, "file", "f", "-", "file to write; - is standard output")
	cmd.Flags().BoolVar(&force, "force", false, "overwrite the file if it exists")
	v.register(cmd)
	return cmd
}
