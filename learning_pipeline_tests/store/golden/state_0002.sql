BEGIN TRANSACTION;
CREATE TABLE checkpoint_history (
	stage TEXT NOT NULL, 
	partition_id INTEGER NOT NULL, 
	sequence BIGINT NOT NULL, 
	generation INTEGER NOT NULL, 
	start_offset BIGINT NOT NULL, 
	"offset" BIGINT NOT NULL, 
	prefix_length_bytes INTEGER, 
	prefix_digest BLOB, 
	guard_length_bytes INTEGER, 
	guard_digest BLOB, 
	counters TEXT NOT NULL, 
	is_generation_start BOOLEAN NOT NULL, 
	run_id TEXT NOT NULL, 
	committed_at TEXT NOT NULL, 
	PRIMARY KEY (stage, partition_id, sequence)
)
 WITHOUT ROWID

;
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,1,0,0,0,0,X'',0,X'','{}',1,'run-1','2026-11-23T12:00:00.000000+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,2,0,0,100,100,X'8E46295B35431D231B7B70466AA30B4C',64,X'BC94C0E8CFE2386490EB537C62D03E02','{"record_count":10,"event_count":9,"row_count":4,"quality_count":4,"dead_letter_count":1,"events_by_kind":{"kind_0":4,"kind_1":3,"kind_2":3},"redactions_by_kind":{"api_key":1}}',0,'run-1','2026-11-23T12:00:00.000000+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,3,0,100,200,200,X'3F5C5FAA62F18227680E406AB847E26E',64,X'A7E873B757FD52893EBB75C1688FF4C6','{"record_count":20,"event_count":18,"row_count":8,"quality_count":8,"dead_letter_count":2,"events_by_kind":{"kind_0":7,"kind_1":7,"kind_2":6},"redactions_by_kind":{"api_key":2}}',0,'run-1','2026-11-23T12:00:00.000000+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,4,1,0,0,0,X'',0,X'','{"record_count":20,"event_count":18,"row_count":8,"quality_count":8,"dead_letter_count":2,"events_by_kind":{"kind_0":7,"kind_1":7,"kind_2":6},"redactions_by_kind":{"api_key":2},"generation_change_count":1}',1,'run-1','2026-11-23T12:00:00.000000+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,5,1,0,100,100,X'8E46295B35431D231B7B70466AA30B4C',64,X'BC94C0E8CFE2386490EB537C62D03E02','{"record_count":30,"event_count":27,"row_count":12,"quality_count":12,"dead_letter_count":3,"events_by_kind":{"kind_0":11,"kind_1":10,"kind_2":9},"redactions_by_kind":{"api_key":3},"generation_change_count":1}',0,'run-1','2026-11-23T12:00:00.000000+00:00');
CREATE TABLE checkpoints (
	stage TEXT NOT NULL, 
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	prefix_length_bytes INTEGER, 
	prefix_digest BLOB, 
	guard_length_bytes INTEGER, 
	guard_digest BLOB, 
	counters TEXT NOT NULL, 
	sequence BIGINT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	synced_offset BIGINT NOT NULL, 
	fence BIGINT NOT NULL, 
	replayed_by TEXT, 
	run_id TEXT NOT NULL, 
	updated_at TEXT NOT NULL, seen_signature TEXT, 
	PRIMARY KEY (stage, partition_id)
)
 WITHOUT ROWID

;
INSERT INTO "checkpoints" VALUES('interaction_patterns',1,1,100,100,X'8E46295B35431D231B7B70466AA30B4C',64,X'BC94C0E8CFE2386490EB537C62D03E02','{"record_count":30,"event_count":27,"row_count":12,"quality_count":12,"dead_letter_count":3,"redactions_by_kind":{"api_key":3},"generation_change_count":1,"lost_bytes":800}',5,300,100,1,NULL,'run-1','2026-11-23T12:00:00.000000+00:00','seen');
CREATE TABLE dead_letters (
	stage TEXT NOT NULL, 
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	start_offset BIGINT NOT NULL, 
	end_offset BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	raw BLOB NOT NULL, 
	run_id TEXT NOT NULL, 
	rejected_at TEXT NOT NULL, kind TEXT, 
	PRIMARY KEY (stage, partition_id, generation, start_offset)
);
INSERT INTO "dead_letters" VALUES('interaction_patterns',1,0,0,10,'malformed_json','no JSON',X'7B','run-1','2026-11-23T12:00:00.000000+00:00','kind_0');
INSERT INTO "dead_letters" VALUES('interaction_patterns',1,0,100,110,'malformed_json','no JSON',X'7B','run-1','2026-11-23T12:00:00.000000+00:00',NULL);
INSERT INTO "dead_letters" VALUES('interaction_patterns',1,1,0,10,'malformed_json','no JSON',X'7B','run-1','2026-11-23T12:00:00.000000+00:00',NULL);
CREATE TABLE event_counts (
	stage TEXT NOT NULL, 
	partition_id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	event_count BIGINT NOT NULL, 
	PRIMARY KEY (stage, partition_id, kind)
)
 WITHOUT ROWID

;
INSERT INTO "event_counts" VALUES('interaction_patterns',1,'kind_0',11);
INSERT INTO "event_counts" VALUES('interaction_patterns',1,'kind_1',10);
INSERT INTO "event_counts" VALUES('interaction_patterns',1,'kind_2',9);
CREATE TABLE generation_positions (
	stage TEXT NOT NULL, 
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	prefix_length_bytes INTEGER, 
	prefix_digest BLOB, 
	guard_length_bytes INTEGER, 
	guard_digest BLOB, 
	size_bytes BIGINT NOT NULL, 
	synced_offset BIGINT NOT NULL, 
	lost_bytes BIGINT NOT NULL, 
	updated_at TEXT NOT NULL, 
	PRIMARY KEY (stage, partition_id, generation)
)
 WITHOUT ROWID

;
INSERT INTO "generation_positions" VALUES('interaction_patterns',1,0,200,200,X'3F5C5FAA62F18227680E406AB847E26E',64,X'A7E873B757FD52893EBB75C1688FF4C6',1000,200,800,'2026-11-23T12:00:00.000000+00:00');
CREATE TABLE generations (
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	prefix_length_bytes INTEGER NOT NULL, 
	prefix_digest BLOB NOT NULL, 
	began_because TEXT NOT NULL, 
	began_at TEXT NOT NULL, landmarks BLOB, 
	PRIMARY KEY (partition_id, generation)
)
 WITHOUT ROWID

;
INSERT INTO "generations" VALUES(1,0,200,X'3F5C5FAA62F18227680E406AB847E26E','first_seen','2026-11-23T12:00:00.000000+00:00',X'000102030405060708090A0B0C0D0E0F');
INSERT INTO "generations" VALUES(1,1,100,X'8E46295B35431D231B7B70466AA30B4C','truncated','2026-11-23T12:00:00.000000+00:00',X'');
CREATE TABLE learning_pipeline_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT learning_pipeline_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "learning_pipeline_version" VALUES('0002');
CREATE TABLE partitions (
	id INTEGER NOT NULL, 
	partition_key TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (partition_key)
);
INSERT INTO "partitions" VALUES(1,'agents/a.jsonl');
CREATE TABLE patterns (
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	ordinal INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	response TEXT NOT NULL, 
	iterations BIGINT NOT NULL, 
	backend TEXT, 
	context TEXT, 
	success_metrics TEXT NOT NULL, 
	event_timestamp TEXT, 
	quality BOOLEAN NOT NULL, 
	content_hash BLOB NOT NULL, 
	PRIMARY KEY (partition_id, generation, "offset", ordinal)
);
INSERT INTO "patterns" VALUES(1,0,20,0,'task_completed','prompt of 20','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'39CA2D8837EF13EFE2306CA1503096C5');
INSERT INTO "patterns" VALUES(1,0,40,0,'task_completed','prompt of 40','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'951A742BCC08F5906F0CF20632CD57BE');
INSERT INTO "patterns" VALUES(1,0,60,0,'task_completed','prompt of 60','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'97EF20F86B1E50FBFB5E587628B663EE');
INSERT INTO "patterns" VALUES(1,0,80,0,'task_completed','prompt of 80','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'28D70C57BCC7216FD9BC65493274B847');
INSERT INTO "patterns" VALUES(1,0,120,0,'task_completed','prompt of 120','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'FF86AFC97FE47275FE2072CDF664562E');
INSERT INTO "patterns" VALUES(1,0,140,0,'task_completed','prompt of 140','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'A173BADB97E27C38F46EFC6761D105EB');
INSERT INTO "patterns" VALUES(1,0,160,0,'task_completed','prompt of 160','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'C94BF2BFDE6EF9228D1C0A67CACA918A');
INSERT INTO "patterns" VALUES(1,0,180,0,'task_completed','prompt of 180','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'37ED7C8AE0B31D202D245D2E47C4F692');
INSERT INTO "patterns" VALUES(1,1,20,0,'task_completed','prompt of 20','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'39CA2D8837EF13EFE2306CA1503096C5');
INSERT INTO "patterns" VALUES(1,1,40,0,'task_completed','prompt of 40','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'951A742BCC08F5906F0CF20632CD57BE');
INSERT INTO "patterns" VALUES(1,1,60,0,'task_completed','prompt of 60','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'97EF20F86B1E50FBFB5E587628B663EE');
INSERT INTO "patterns" VALUES(1,1,80,0,'task_completed','prompt of 80','response',1,NULL,'{"a":1}','{"iterations":1}',NULL,1,X'28D70C57BCC7216FD9BC65493274B847');
CREATE TABLE sightings (
	partition_id INTEGER NOT NULL, 
	file_key TEXT NOT NULL, 
	inode BIGINT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	mtime_ns BIGINT NOT NULL, 
	noted_at_ns BIGINT NOT NULL, 
	generation INTEGER NOT NULL, 
	content_bytes BIGINT NOT NULL, 
	end_digest BLOB NOT NULL, 
	PRIMARY KEY (partition_id, file_key)
)
 WITHOUT ROWID

;
INSERT INTO "sightings" VALUES(1,'a.jsonl.1',7,1000,1,2,0,1000,X'A65BD652AE771BE47ABEB9147FC10F15');
CREATE TABLE stages (
	stage TEXT NOT NULL, 
	table_name TEXT NOT NULL, 
	PRIMARY KEY (stage)
);
INSERT INTO "stages" VALUES('interaction_patterns','patterns');
CREATE TABLE tombstones (
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	file_key TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	start_offset BIGINT NOT NULL, 
	end_offset BIGINT NOT NULL, 
	digest BLOB NOT NULL, 
	action TEXT NOT NULL, 
	retired_at TEXT NOT NULL, 
	PRIMARY KEY (partition_id, generation)
)
 WITHOUT ROWID

;
INSERT INTO "tombstones" VALUES(1,0,'a.jsonl.1',1000,0,200,X'AB','delete','2026-11-23T12:00:00.000000+00:00');
CREATE INDEX checkpoints_by_run ON checkpoints (run_id);
COMMIT;
