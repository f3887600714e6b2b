package main

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
)

// registryFlags say where the registries are, how they are made, and how long a node lives
// in them.
type registryFlags struct {
	single        bool     // all are on the region's own NATS
	urls, domains []string // dbCode=URL, dbCode=domain
	create        bool
	replicas      int
	lease, wait   time.Duration
}

// longestLease is a tenth of the time after which a pin without a sweep expires.
const longestLease = 24 * time.Minute

func (f *registryFlags) register(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.urls, "registry", nil, "registry of a license region, as dbCode=natsURL or dbCode=file:PATH; repeat for each")
	fl.DurationVar(&f.wait, "registry-wait", 5*time.Minute, "how long a node that starts takes no clients because it misses a lease in one of the registries; with none at all it waits on; 0: not at all, for the time in which all registries are lost")
	fl.StringArrayVar(&f.domains, "registry-domain", nil, "JetStream domain of a registry, as dbCode=domain, or of all that are not named; repeat for each")
	fl.BoolVar(&f.single, "single-region", false, "keep the registries of all license regions on the region's own NATS; only if there is no other region")
	fl.BoolVar(&f.create, "create-buckets", true, "create missing registry buckets; otherwise they are only checked")
	fl.IntVar(&f.replicas, "replicas", 1, "replicas of registry buckets that are created; 3 in production")
	fl.DurationVar(&f.lease, "lease", 10*time.Second, "how long a node counts as alive after its last word to a registry; whole seconds, the same on all nodes")
}

func (f *registryFlags) check() error {
	switch {
	case f.single == (len(f.urls) > 0):
		return wrongFlag("registry", "expected either --registry dbCode=natsURL for each license region, or --single-region: two regions with a registry each would pin every document twice")
	case f.replicas < 1 || f.replicas > 5:
		return wrongFlag("replicas", "%d: expected 1 to 5", f.replicas)
	case f.lease < 2*time.Second || f.lease > longestLease || f.lease%time.Second != 0:
		return wrongFlag("lease", "%s: expected whole seconds, 2s to %s", f.lease, longestLease)
	}
	return nil
}

// byLicense are the JetStream domains; that of all that are not named is under "".
func (f *registryFlags) byLicense() (map[string]string, error) {
	domains := map[string]string{}
	for _, value := range f.domains {
		license, domain, ok := strings.Cut(value, "=")
		if !ok {
			license, domain = "", value
		}
		if domain == "" || strings.ContainsAny(domain, ".*> \t") {
			return nil, wrongFlag("registry-domain", "%q: expected dbCode=domain, or a domain for all", value)
		}
		domains[license] = domain
	}
	return domains, nil
}

// sources are the registries. regionURL is the region's own NATS, and options are those of
// a connection to a URL.
func (f *registryFlags) sources(regionURL string, options func(url string) []nats.Option) (map[docid.LicenseRegion]kvpin.Source, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	domains, err := f.byLicense()
	if err != nil {
		return nil, err
	}
	base := kvpin.Source{Domain: domains[""], Replicas: f.replicas, Create: f.create}
	delete(domains, "")
	sources := map[docid.LicenseRegion]kvpin.Source{}
	add := func(license docid.LicenseRegion, url string) {
		source := base
		source.URL, source.Options = url, options(url)
		sources[license] = source
	}
	if f.single {
		for _, license := range licenseRegions {
			add(license, regionURL)
		}
	}
	for i, value := range f.urls {
		license, url, _ := strings.Cut(value, "=")
		if !docid.ValidRegion(license) || !strings.HasPrefix(license, "aws-") {
			return nil, wrongFlag("registry", "value %d: expected dbCode=natsURL, such as aws-eu-west-1=nats://nats:4222", i+1)
		}
		if _, _, err := natsconn.Servers(url); err != nil {
			return nil, wrongFlag("registry", "value %d, dbCode=natsURL: %v", i+1, err)
		}
		add(docid.LicenseRegion(license), url)
	}
	for license, domain := range domains {
		source, ok := sources[docid.LicenseRegion(license)]
		if !ok {
			return nil, wrongFlag("registry-domain", "%q is not served: expected one of the registries", license)
		}
		source.Domain = domain
		sources[docid.LicenseRegion(license)] = source
	}
	return sources, nil
}
