package store

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

//go:embed migrations
var migrationFiles embed.FS

// Migration is one numbered step of the schema, with this store's names filled in.
type Migration struct {
	Version int
	Name    string
	// Serves is the lowest schema number of a program that may run while this is the newest migration.
	Serves int
	// Up and Down are scripts; each is meant to run in one transaction and keeps the version table itself.
	Up, Down string
	// Checksum is the SHA-256 of the file of Up before names are filled in, with line ends as LF.
	Checksum string

	creates []created
}

// created is a table that a migration makes, with its columns.
type created struct {
	table   string
	columns []string
}

var (
	migrationFile = regexp.MustCompile(`^(\d{4})_([a-z0-9_]+)\.up\.sql$`)
	servesLine    = regexp.MustCompile(`(?m)^-- serves: (\d+)$`)
	createTable   = regexp.MustCompile(`(?ms)^CREATE TABLE \{\{([a-z_]+)\}\} \(\n(.*?)^\)`)
	columnLine    = regexp.MustCompile(`(?m)^  \x60?([a-z_]+)\x60? +[a-zA-Z]`)
)

// loadMigrations reads the dialect's files. That they are well formed is tested, so an error is a broken build.
func loadMigrations(dir string, n names) ([]Migration, error) {
	entries, err := fs.ReadDir(migrationFiles, "migrations/"+dir)
	if err != nil {
		return nil, fmt.Errorf("store: read the migrations: %w", err)
	}
	var all []Migration
	for _, e := range entries { // sorted by name, which begins with the number
		parts := migrationFile.FindStringSubmatch(e.Name())
		if parts == nil {
			continue
		}
		m, err := loadMigration("migrations/"+dir+"/"+strings.TrimSuffix(e.Name(), ".up.sql"), n)
		if err != nil {
			return nil, fmt.Errorf("store: read migration %s: %w", e.Name(), err)
		}
		m.Version, _ = strconv.Atoi(parts[1])
		m.Name = parts[2]
		if m.Version != len(all)+1 {
			return nil, fmt.Errorf("store: read migration %s: number %04d is missing before it", e.Name(), len(all)+1)
		}
		m.Up += fmt.Sprintf("\nINSERT INTO %s (version, name, checksum, serves) VALUES (%d, %s, %s, %d);\n",
			n.of("schema_version"), m.Version, quoteLiteral(m.Name), quoteLiteral(m.Checksum), m.Serves)
		m.Down += fmt.Sprintf("\nDELETE FROM %s WHERE version = %d;\n", n.of("schema_version"), m.Version)
		if dir == (mysql{}).files() {
			m.Up, m.Down = myQuoted(m.Up), myQuoted(m.Down)
		}
		all = append(all, m)
	}
	return all, nil
}

func loadMigration(path string, n names) (m Migration, err error) {
	up, err := readNormal(path + ".up.sql")
	if err != nil {
		return m, err
	}
	down, err := readNormal(path + ".down.sql")
	if err != nil {
		return m, err
	}
	serves := servesLine.FindStringSubmatch(up)
	if serves == nil {
		return m, fmt.Errorf(`it has no line "-- serves: N"`)
	}
	m.Serves, _ = strconv.Atoi(serves[1])
	sum := sha256.Sum256([]byte(up))
	m.Checksum = hex.EncodeToString(sum[:])
	for _, t := range createTable.FindAllStringSubmatch(up, -1) {
		c := created{table: t[1]}
		for _, col := range columnLine.FindAllStringSubmatch(t[2], -1) {
			c.columns = append(c.columns, col[1])
		}
		m.creates = append(m.creates, c)
	}
	m.Up, m.Down = n.fill(up), n.fill(down)
	return m, nil
}

// readNormal reads a file with line ends as LF, so that a checkout with others has the same checksum.
func readNormal(path string) (string, error) {
	b, err := migrationFiles.ReadFile(path)
	return strings.ReplaceAll(string(b), "\r\n", "\n"), err
}

const functionQuote = "$sixfold$"

// statements cuts a script at the semicolons that end a line, outside the bodies of functions. A library's prepared
// statements take one at a time.
func statements(script string) (all []string) {
	var b strings.Builder
	inBody := false
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "--") && !inBody {
			continue
		}
		b.WriteString(line)
		if strings.Count(line, functionQuote)%2 == 1 {
			inBody = !inBody
		}
		if !inBody && strings.HasSuffix(strings.TrimSpace(line), ";") {
			all = append(all, strings.TrimSuffix(strings.TrimSpace(b.String()), ";"))
			b.Reset()
		}
	}
	return all
}
