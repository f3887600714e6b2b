package main

import (
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/kvpin"
	"github.com/wsnode/wsnode/natsconn"
)

// accessFlags say as whom a node comes to NATS where its permissions are narrow:
// where it takes answers, and what its accounts call the streams of others.
type accessFlags struct {
	inboxes, registryInboxes string
	registryCreds            string
	historyDomain            string
	regionURLs               []string
}

func (f *accessFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.inboxes, "nats-inbox", "", "subject below which answers of the region's NATS come (default: _INBOX.<user> of --nats-url, or _INBOX)")
	fl.StringVar(&f.registryInboxes, "registry-inbox", "", "the same for the NATS of registries (default: _INBOX.<user> of each --registry, or _INBOX)")
	fl.StringVar(&f.registryCreds, "registry-creds", "", "NATS credentials file for the registries (default: --nats-creds)")
	fl.StringVar(&f.historyDomain, "history-domain", "", "JetStream domain, or prefix of imports, under which the history streams are found")
	fl.StringArrayVar(&f.regionURLs, "region-url", nil, "public URL of a region that registries have no say in, as region=URL; repeat for each")
}

func (f *accessFlags) check() error {
	for flag, prefix := range map[string]string{"nats-inbox": f.inboxes, "registry-inbox": f.registryInboxes} {
		if prefix != "" && !natsconn.ValidInboxes(prefix) {
			return wrongFlag(flag, "%q: expected words of letters, digits, '-' and '_' with dots between, the first beginning with _INBOX", prefix)
		}
	}
	if f.registryCreds != "" {
		if _, err := os.Stat(f.registryCreds); err != nil {
			return wrongFlag("registry-creds", "%v", err)
		}
	}
	if strings.ContainsAny(f.historyDomain, ".*> \t") {
		return wrongFlag("history-domain", "%q: expected one word", f.historyDomain)
	}
	return nil
}

// at adds to a connection's options where its answers come: to the prefix that was
// given, or to that of the URL's user.
func at(options []nats.Option, given, urls string) []nats.Option {
	if given == "" {
		given = natsconn.UserInboxes(urls)
	}
	if given == "" {
		return options
	}
	return append(append([]nats.Option{}, options...), nats.CustomInboxPrefix(given))
}

// urls are the URLs of regions that are fixed.
func (f *accessFlags) urls() (map[docid.Region]string, error) {
	fixed := map[docid.Region]string{}
	for _, value := range f.regionURLs {
		region, address, ok := strings.Cut(value, "=")
		address = strings.TrimSuffix(address, "/")
		if !ok || !docid.ValidRegion(region) || kvpin.CheckRegionURL(address) != nil {
			return nil, wrongFlag("region-url", "%q: expected region=URL, such as us-east-1=wss://us-east-1.example", value)
		}
		fixed[docid.Region(region)] = address
	}
	return fixed, nil
}
