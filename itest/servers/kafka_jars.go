package servers

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// KafkaVersion is the version of Apache Kafka that the tests run.
	KafkaVersion = "4.3.0"
	// MavenEnv names the environment variable with the base URL of a Maven repository, from which Kafka's jars are fetched once.
	MavenEnv = "SIXFOLD_MAVEN"
)

// kafkaJars are what org.apache.kafka:kafka_2.13 needs to run, and the command-line tools: lines of group:artifact:version and
// SHA-256, as Maven resolves them.
//
//go:embed kafka_jars.txt
var kafkaJars string

// errNoJars says that Kafka's jars are neither there nor to be had. It is no failure even where servers are required: a
// Maven repository is not reached from everywhere.
var errNoJars = fmt.Errorf("%w: Kafka's jars are not in the cache, and %s is not set; set it to the base URL of a Maven repository, and have Java 17 or newer", ErrUnavailable, MavenEnv)

// kafkaBinaries are Java, and the class path of Kafka.
type kafkaBinaries struct{ java, classPath string }

// findKafka looks for Java 17 or newer, and for Kafka's jars in the cache of the machine, where it puts them if it may fetch
// them. One process of the machine does that at a time.
func findKafka(ctx context.Context) (*kafkaBinaries, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("%w: there is no java in PATH; install Java 17 or newer", errNoJars)
	}
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if m := regexp.MustCompile(`version "(\d+)`).FindSubmatch(out); err != nil || m == nil {
		return nil, fmt.Errorf("%w: java -version does not say its version", errNoJars)
	} else if n, _ := strconv.Atoi(string(m[1])); n < 17 {
		return nil, fmt.Errorf("%w: Java is version %d; install 17 or newer", errNoJars, n)
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "kafka-"+KafkaVersion)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	unlock, err := lockFile(filepath.Join(cache, "kafka.lock"))
	if err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	defer unlock()
	var paths []string
	for line := range strings.Lines(kafkaJars) {
		name, sum, _ := strings.Cut(strings.TrimSpace(line), " ")
		parts := strings.Split(name, ":")
		path := filepath.Join(dir, parts[1]+"-"+parts[2]+".jar")
		if _, err := os.Stat(path); err != nil {
			if err := fetchJar(ctx, parts, sum, path); err != nil {
				return nil, err
			}
		}
		paths = append(paths, path)
	}
	return &kafkaBinaries{java, strings.Join(paths, string(os.PathListSeparator))}, nil
}

// fetchJar puts one jar to path, if it is the one that it should be.
func fetchJar(ctx context.Context, parts []string, sum, path string) error {
	base := os.Getenv(MavenEnv)
	if base == "" {
		return errNoJars
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	from := strings.TrimSuffix(base, "/") + "/" + strings.ReplaceAll(parts[0], ".", "/") + "/" + parts[1] + "/" + parts[2] + "/" + filepath.Base(path)
	failed := func(err error) error {
		return fmt.Errorf("%w: fetch %s from the repository of %s: %w", ErrUnavailable, filepath.Base(path), MavenEnv, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return failed(errors.New("its value is no URL"))
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return failed(errors.New("it does not answer"))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return failed(errors.New(resp.Status))
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return failed(err)
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		return failed(errors.New("its SHA-256 is another"))
	}
	if err := os.WriteFile(path+".part", data, 0o600); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return os.Rename(path+".part", path)
}
