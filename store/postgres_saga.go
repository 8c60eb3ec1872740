package store

// newPgSaga has one statement for what begins a step and one for what ends it: their functions bring their settings along, so that
// no plan of an empty table is kept, and save a round trip each.
func newPgSaga(d *scheduleSQL) *sagaSQL {
	return &sagaSQL{scheduleSQL: d,
		load: "SELECT " + sagaColumns + " FROM {{saga_load}}(?1::text, ?2::text, @id(?3))",
		save: "SELECT {{saga_save}}(?1::text, ?2::text, ?3::integer, ?4::bigint, ?5::smallint, ?6::integer, ?7::text, ?8::bytea, ?9::bytea, ?10::text, ?11::integer, " +
			"@id(?12), ?13::bigint, ?14::smallint, ?15::text, ?16::text, ?17::bigint, ?18::bytea)"}
}
