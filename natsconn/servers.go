package natsconn

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// filePrefix begins what is read from a file.
const filePrefix = "file:"

// Connect is nats.Connect to servers that Servers reads.
func Connect(servers string, options ...nats.Option) (*nats.Conn, error) {
	urls, own, err := Servers(servers)
	if err != nil {
		return nil, err
	}
	return nats.Connect(urls, append(slices.Clone(options), own...)...)
}

// Servers reads what names a cluster: one or more URLs, separated by commas, or
// "file:" and the path of a file that holds them. Others on the machine can see
// arguments, so passwords belong into a file or the environment. The user and the
// password, or the token, of a file are read again at each connect; they must be the
// same in all of its URLs. Errors show no password.
func Servers(servers string) (urls string, options []nats.Option, err error) {
	file, ok := strings.CutPrefix(servers, filePrefix)
	if !ok {
		_, err := parse(servers)
		return servers, nil, err
	}
	file = strings.TrimPrefix(file, "//")
	urls, user, err := readServers(file)
	if err != nil || user == nil {
		return urls, nil, err
	}
	// What cannot be read is what it was: the server says whether that is still right.
	again := func() *url.Userinfo {
		if _, now, err := readServers(file); err == nil && now != nil {
			return now
		}
		return user
	}
	if _, password := user.Password(); !password {
		return urls, []nats.Option{nats.TokenHandler(func() string { return again().Username() })}, nil
	}
	return urls, []nats.Option{nats.UserInfoHandler(func() (string, string) {
		u := again()
		password, _ := u.Password()
		return u.Username(), password
	})}, nil
}

// readServers reads a file's URLs, without the user that they share.
func readServers(file string) (urls string, user *url.Userinfo, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	parsed, err := parse(strings.TrimSpace(string(content)))
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, err)
	}
	var bare []string
	for i, u := range parsed {
		if i > 0 && u.User.String() != user.String() {
			return "", nil, fmt.Errorf("%s: expected the same user and password in all of its URLs", file)
		}
		user, u.User = u.User, nil
		bare = append(bare, u.String())
	}
	return strings.Join(bare, ","), user, nil
}

var errServers = errors.New("expected a URL such as nats://nats:4222, several separated by commas, or file: and the path of a file that holds them")

func parse(servers string) (urls []*url.URL, err error) {
	for server := range strings.SplitSeq(servers, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return nil, errServers
		}
		urls = append(urls, u)
	}
	return urls, nil
}
