package servers

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hba lets those in who can enter the socket's directory, which is the server's and ours alone, and everybody else with
// the password only.
const hba = `local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
`

// settings returns lines for postgresql.conf. Durability stays at PostgreSQL's defaults: what tests and benchmarks show must
// hold for servers as people run them.
func settings(sockets string, b *binaries, extra map[string]string) string {
	all := map[string]string{
		"listen_addresses":          "127.0.0.1",
		"unix_socket_directories":   sockets,
		"unix_socket_permissions":   "0700",
		"max_connections":           "200",
		"max_prepared_transactions": "10",
		"password_encryption":       "scram-sha-256",
		"timezone":                  "UTC",
		"log_timezone":              "UTC",
		"lc_messages":               "C",
		"logging_collector":         "off",
		"log_destination":           "stderr",
		"log_line_prefix":           "%m [%p] %d ",
		"cluster_name":              "sixfold",
	}
	if b.statements {
		all["shared_preload_libraries"] = "pg_stat_statements"
	}
	maps.Copy(all, extra)
	var text strings.Builder
	text.WriteString("\n# Written by package servers.\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(all[name], "'", "''"))
	}
	return text.String()
}

// configure writes the server's own files into its data directory.
func configure(data, conf string) error {
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	_, err = f.WriteString(conf) // of a setting that comes twice, the last counts
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	return nil
}

// newPassword returns a password that nobody guesses and that needs no quoting.
func newPassword() string { return rand.Text() }
