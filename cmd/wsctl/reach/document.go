package reach

import (
	"context"
	"errors"
	"strings"

	"github.com/wsnode/wsnode/cmd/wsctl/exit"
	"github.com/wsnode/wsnode/docid"
)

// ParseDocument reads a document as wsctl prints it, "license/tenant/app/name", or
// without the license region, also as "tenant::app::name". License is empty then.
func ParseDocument(arg string) (d docid.Document, err error) {
	wrong := exit.With(exit.Usage, "%q: expected a document as tenant/app/name, or dbCode/tenant/app/name", arg)
	parts := strings.SplitN(arg, "::", 3)
	if len(parts) != 3 {
		parts = strings.SplitN(arg, "/", 3)
		if license, rest, ok := strings.Cut(arg, "/"); ok && strings.HasPrefix(license, "aws-") && docid.ValidRegion(license) {
			d.License = docid.LicenseRegion(license)
			parts = strings.SplitN(rest, "/", 3)
		}
	}
	if len(parts) != 3 || !docid.ValidID(parts[0]) || !docid.ValidID(parts[1]) {
		return d, wrong
	}
	d.Tenant, d.App = docid.Tenant(parts[0]), docid.App(parts[1])
	if d.Name, err = docid.Parse(parts[2]); err != nil {
		return d, exit.With(exit.Usage, "%q: %v", arg, err)
	}
	return d, nil
}

// Document reads a document, and finds its license region if it is given without: what
// the flag names, or what Resolve finds.
func (c *Clusters) Document(ctx context.Context, arg, license string) (d docid.Document, err error) {
	if d, err = ParseDocument(arg); err != nil {
		return d, err
	}
	if license != "" {
		d.License = docid.LicenseRegion(license)
	}
	if d.License != "" {
		return d, nil
	}
	err = c.WithRegistries(ctx, func(r *Registries) error {
		d, err = r.Resolve(ctx, d, "")
		return err
	})
	return d, err
}

// Resolve finds the license region of a document that was given without: the one
// in which it is pinned, or the only one that there is.
func (r *Registries) Resolve(ctx context.Context, d docid.Document, license string) (docid.Document, error) {
	if license != "" {
		d.License = docid.LicenseRegion(license)
	}
	if d.License != "" {
		return d, nil
	}
	known := r.Licenses()
	if len(known) == 1 && r.Lost == nil {
		d.License = known[0]
		return d, nil
	}
	var pinned []docid.LicenseRegion
	errs := []error{r.Lost}
	for _, license := range known {
		d.License = license
		info, err := r.Pin(ctx, d)
		if info.Pin.Revision > 0 {
			pinned = append(pinned, license)
		} else if err != nil {
			errs = append(errs, err)
		}
	}
	if len(pinned) == 1 {
		d.License = pinned[0]
		return d, nil
	}
	d.License = ""
	if len(pinned) > 1 {
		return d, exit.With(exit.Usage, "%s/%s/%s is pinned in %v: say which by --license", d.Tenant, d.App, d.Name, pinned)
	}
	if err := errors.Join(errs...); err != nil {
		return d, err
	}
	return d, exit.With(exit.NotFound, "%s/%s/%s is pinned in none of %v", d.Tenant, d.App, d.Name, known)
}
