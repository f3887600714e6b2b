package authn

import (
	"strings"

	"github.com/wsnode/wsnode/docid"
)

// The claims of TipTap's tokens that say which documents a user may open.
const (
	tiptapAllowed  = "allowedDocumentNames"
	tiptapReadOnly = "readonlyDocumentNames"
	tiptapComment  = "commentDocumentNames" // who may comment but not edit may only read here
)

// readTiptap reads TipTap's claims, which are judged as the documents claim is: without
// allowedDocumentNames all documents may be edited, but for those that the other lists
// name. A star at the end of a name stands for any characters. Names that no document can
// have here grant nothing, and take nothing.
func readTiptap(g *Grant, c claims) error {
	for _, list := range []struct {
		name   string
		access Access
	}{{tiptapAllowed, ReadWrite}, {tiptapReadOnly, ReadOnly}, {tiptapComment, ReadOnly}} {
		_, present := c[list.name]
		if !present {
			continue
		}
		names, err := c.texts(list.name)
		if err != nil || !c.has(list.name) { // null is a mistake, not everything
			return badClaim(list.name, "expected an array of names")
		}
		if list.name == tiptapAllowed {
			g.restricted = true
		}
		for _, name := range names {
			if prefix, ok := strings.CutSuffix(name, "*"); ok {
				g.documents = append(g.documents, documentRule{name: prefix, prefix: true, access: list.access})
			} else if folded, err := docid.Parse(name); err == nil {
				g.documents = append(g.documents, documentRule{name: folded, access: list.access})
			}
		}
	}
	return nil
}
