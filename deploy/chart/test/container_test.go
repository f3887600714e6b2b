//go:build built

package test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// user is the user of the pods.
const user = 65532

// container is what a container of the chart's pod has: the files of the image, the
// volumes, the environment and the arguments, and nothing else. With root's rights
// it runs in its own root folder and as its own user, otherwise as whoever tests.
type container struct {
	t     *testing.T
	root  string
	caged bool
	env   map[string]string
	args  []string
}

// unpack makes a container of the only image in the layout in $WSNODE_TEST_IMAGE.
func unpack(t *testing.T, o *objects) *container {
	t.Helper()
	c := &container{t: t, root: t.TempDir(), caged: os.Geteuid() == 0, env: o.env(), args: o.node().Args}
	top, err := layout.ImageIndexFromPath(os.Getenv("WSNODE_TEST_IMAGE"))
	if err != nil {
		t.Fatal(err)
	}
	image := only(t, top)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c.args = append(config.Config.Entrypoint, c.args...)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		files, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		c.extract(files)
		files.Close()
	}
	for _, m := range o.node().VolumeMounts {
		c.volume(m.MountPath, m.ReadOnly)
	}
	// Nobody but root may change what is not a volume, and others may enter.
	for _, dir := range []string{c.root, filepath.Dir(c.root)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// only is the single image below an index.
func only(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) != 1 {
		t.Fatalf("%+v: %v", list, err)
	}
	m := list.Manifests[0]
	if m.MediaType.IsIndex() {
		below, err := index.ImageIndex(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		return only(t, below)
	}
	image, err := index.Image(m.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func (c *container) extract(files io.Reader) {
	c.t.Helper()
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			c.t.Fatal(err)
		}
		name := filepath.Join(c.root, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(name, 0o755)
		} else {
			var f *os.File
			if f, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY, os.FileMode(h.Mode)); err == nil {
				_, err = io.Copy(f, r)
				err = errors.Join(err, f.Close())
			}
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// volume makes the place of a volume, which belongs to the pod's user if it may write.
func (c *container) volume(at string, readOnly bool) {
	c.t.Helper()
	dir := filepath.Join(c.root, at)
	err := os.MkdirAll(dir, 0o755)
	if !readOnly && c.caged {
		err = errors.Join(err, os.Chown(dir, user, user))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// path is a path of the container as its processes spell it.
func (c *container) path(name string) string {
	if c.caged {
		return name
	}
	return filepath.Join(c.root, name)
}

// command runs a program in the container, with the environment of the pod.
func (c *container) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.path(args[0]), args[1:]...)
	for name, value := range c.env {
		if !c.caged && strings.HasPrefix(value, "/") {
			value = c.path(value)
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if c.caged {
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	return cmd
}

// output runs a command of the image to its end.
func (c *container) output(args ...string) string {
	c.t.Helper()
	cmd := c.command(args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%q: %v\n%s%s", args, err, out, &errs)
	}
	return string(out)
}
