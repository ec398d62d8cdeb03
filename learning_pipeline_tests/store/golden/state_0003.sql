BEGIN TRANSACTION;
CREATE TABLE breakers (
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	failure_count INTEGER NOT NULL, 
	success_count INTEGER NOT NULL, 
	opened_at TEXT, 
	last_error TEXT, 
	updated_at TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "breakers" VALUES('qdrant','open',5,0,'2026-01-01T00:00:00.000000+00:00','refused','2026-01-01T00:00:00.000000+00:00');
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
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',1,1,0,0,0,0,X'',0,X'','{}',1,'run-2','2026-11-28T08:03:22.594450+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',1,2,0,0,60,0,X'',0,X'','{"record_count":2,"row_count":2}',0,'run-2','2026-11-28T08:03:22.594886+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',1,3,0,60,120,0,X'',0,X'','{"record_count":4,"row_count":4}',0,'run-2','2026-11-28T08:03:22.595404+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',1,4,0,120,160,0,X'',0,X'','{"record_count":6,"row_count":6}',0,'run-2','2026-11-28T08:03:22.595637+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',1,5,0,160,200,0,X'',0,X'','{"record_count":8,"row_count":8}',0,'run-2','2026-11-28T08:03:22.595832+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',2,1,0,0,0,0,X'',0,X'','{}',1,'run-2','2026-11-28T08:03:22.657171+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',2,2,0,0,20,0,X'',0,X'','{"record_count":2,"row_count":2}',0,'run-2','2026-11-28T08:03:22.657377+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',2,3,0,20,30,0,X'',0,X'','{"record_count":3,"row_count":3}',0,'run-2','2026-11-28T08:03:22.669829+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',3,1,0,0,0,0,X'',0,X'','{}',1,'run-2','2026-11-28T08:03:22.882072+00:00');
INSERT INTO "checkpoint_history" VALUES('finetuning_examples',3,2,0,0,20,0,X'',0,X'','{"record_count":2,"row_count":2}',0,'run-2','2026-11-28T08:03:22.882361+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,1,0,0,0,0,X'',0,X'','{}',1,'run-1','2026-11-28T08:03:22.456598+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,2,0,0,100,100,X'8E46295B35431D231B7B70466AA30B4C',64,X'BC94C0E8CFE2386490EB537C62D03E02','{"record_count":10,"event_count":9,"row_count":4,"quality_count":4,"dead_letter_count":1,"events_by_kind":{"kind_0":4,"kind_1":3,"kind_2":3},"redactions_by_kind":{"api_key":1}}',0,'run-1','2026-11-28T08:03:22.457092+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',1,3,0,100,200,200,X'3F5C5FAA62F18227680E406AB847E26E',64,X'A7E873B757FD52893EBB75C1688FF4C6','{"record_count":20,"event_count":18,"row_count":8,"quality_count":8,"dead_letter_count":2,"events_by_kind":{"kind_0":7,"kind_1":7,"kind_2":6},"redactions_by_kind":{"api_key":2}}',0,'run-1','2026-11-28T08:03:22.465853+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',2,1,0,0,0,0,X'',0,X'','{}',1,'run-1','2026-11-28T08:03:22.487287+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',2,2,0,0,10,10,X'4F0C12ABA958E49D29B57BAF7C9C8C3B',10,X'B7C31730475635CE717D68EC98980109','{"record_count":1,"row_count":1}',0,'run-1','2026-11-28T08:03:22.487774+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',2,3,0,10,20,20,X'6F2E4DD3FA47C55A420A4A9AE2490D6F',20,X'CF4B6440F04E125959645F46B2DC5002','{"record_count":2,"row_count":2}',0,'run-1','2026-11-28T08:03:22.488033+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',2,4,0,20,30,30,X'04F0172F81EBDE5C164F6A278AD5C356',30,X'0D12BCA11165EFB36275679E4DDB3F71','{"record_count":3,"row_count":3}',0,'run-1','2026-11-28T08:03:22.488192+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',3,1,0,0,0,0,X'',0,X'','{}',1,'run-1','2026-11-28T08:03:22.505102+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',3,2,0,0,10,10,X'4F0C12ABA958E49D29B57BAF7C9C8C3B',10,X'B7C31730475635CE717D68EC98980109','{"record_count":1,"row_count":1}',0,'run-1','2026-11-28T08:03:22.505424+00:00');
INSERT INTO "checkpoint_history" VALUES('interaction_patterns',3,3,0,10,20,20,X'6F2E4DD3FA47C55A420A4A9AE2490D6F',20,X'CF4B6440F04E125959645F46B2DC5002','{"record_count":2,"row_count":2}',0,'run-1','2026-11-28T08:03:22.505656+00:00');
INSERT INTO "checkpoint_history" VALUES('pattern_index',2,1,0,0,0,0,X'',0,X'','{}',1,'run-2','2026-11-28T08:03:23.025539+00:00');
INSERT INTO "checkpoint_history" VALUES('pattern_index',2,2,0,0,30,0,X'',0,X'','{"record_count":3,"row_count":3}',0,'run-2','2026-11-28T08:03:23.038039+00:00');
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
INSERT INTO "checkpoints" VALUES('finetuning_examples',1,0,200,NULL,NULL,NULL,NULL,'{"record_count":8,"row_count":8}',5,1000,0,1,NULL,'run-2','2026-11-28T08:03:22.595832+00:00','3');
INSERT INTO "checkpoints" VALUES('finetuning_examples',2,0,30,NULL,NULL,NULL,NULL,'{"record_count":3,"row_count":3}',3,1000,0,1,NULL,'run-2','2026-11-28T08:03:22.669829+00:00','4');
INSERT INTO "checkpoints" VALUES('finetuning_examples',3,0,20,NULL,NULL,NULL,NULL,'{"record_count":2,"row_count":2}',2,1000,0,1,NULL,'run-2','2026-11-28T08:03:22.882361+00:00',NULL);
INSERT INTO "checkpoints" VALUES('interaction_patterns',1,0,200,200,X'3F5C5FAA62F18227680E406AB847E26E',64,X'A7E873B757FD52893EBB75C1688FF4C6','{"record_count":20,"event_count":18,"row_count":8,"quality_count":8,"dead_letter_count":2,"redactions_by_kind":{"api_key":2}}',3,1000,0,1,NULL,'run-1','2026-11-28T08:03:22.465853+00:00',NULL);
INSERT INTO "checkpoints" VALUES('interaction_patterns',2,0,30,30,X'04F0172F81EBDE5C164F6A278AD5C356',30,X'0D12BCA11165EFB36275679E4DDB3F71','{"record_count":3,"row_count":3}',4,1000,0,1,NULL,'run-1','2026-11-28T08:03:22.488192+00:00',NULL);
INSERT INTO "checkpoints" VALUES('interaction_patterns',3,0,20,20,X'6F2E4DD3FA47C55A420A4A9AE2490D6F',20,X'CF4B6440F04E125959645F46B2DC5002','{"record_count":2,"row_count":2}',3,1000,0,1,NULL,'run-1','2026-11-28T08:03:22.505656+00:00',NULL);
INSERT INTO "checkpoints" VALUES('pattern_index',1,0,0,NULL,NULL,NULL,NULL,'{}',0,0,0,2,NULL,'run-2','2026-11-28T08:03:22.946722+00:00',NULL);
INSERT INTO "checkpoints" VALUES('pattern_index',2,0,30,NULL,NULL,NULL,NULL,'{"record_count":3,"row_count":3}',2,1000,0,3,NULL,'run-2','2026-11-28T08:03:23.038039+00:00','3');
CREATE TABLE custom_metrics (
	metric_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	value FLOAT NOT NULL, 
	labels TEXT NOT NULL, 
	recorded_at TEXT NOT NULL, 
	PRIMARY KEY (metric_id)
);
INSERT INTO "custom_metrics" VALUES('id','reward',0.5,'{}','2026-01-01T00:00:00.000000+00:00');
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
INSERT INTO "dead_letters" VALUES('interaction_patterns',1,0,0,10,'malformed_json','no JSON',X'7B','run-1','2026-11-28T08:03:22.457092+00:00',NULL);
INSERT INTO "dead_letters" VALUES('interaction_patterns',1,0,100,110,'malformed_json','no JSON',X'7B','run-1','2026-11-28T08:03:22.465853+00:00',NULL);
CREATE TABLE event_counts (
	stage TEXT NOT NULL, 
	partition_id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	event_count BIGINT NOT NULL, 
	PRIMARY KEY (stage, partition_id, kind)
)
 WITHOUT ROWID

;
INSERT INTO "event_counts" VALUES('interaction_patterns',1,'kind_0',7);
INSERT INTO "event_counts" VALUES('interaction_patterns',1,'kind_1',7);
INSERT INTO "event_counts" VALUES('interaction_patterns',1,'kind_2',6);
CREATE TABLE finetuning_examples (
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	ordinal INTEGER NOT NULL, 
	content_hash BLOB NOT NULL, 
	is_duplicate BOOLEAN NOT NULL, 
	run_id TEXT NOT NULL, 
	PRIMARY KEY (partition_id, generation, "offset", ordinal)
)
 WITHOUT ROWID

;
INSERT INTO "finetuning_examples" VALUES(1,0,20,0,X'39CA2D8837EF13EFE2306CA1503096C5',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(1,0,40,0,X'951A742BCC08F5906F0CF20632CD57BE',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(1,0,60,0,X'97EF20F86B1E50FBFB5E587628B663EE',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(1,0,80,0,X'28D70C57BCC7216FD9BC65493274B847',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(1,0,120,0,X'FF86AFC97FE47275FE2072CDF664562E',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(1,0,140,0,X'A173BADB97E27C38F46EFC6761D105EB',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(1,0,160,0,X'C94BF2BFDE6EF9228D1C0A67CACA918A',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(1,0,180,0,X'37ED7C8AE0B31D202D245D2E47C4F692',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(2,0,0,0,X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(2,0,10,0,X'3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3',0,'run-2');
INSERT INTO "finetuning_examples" VALUES(2,0,20,0,X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED',1,'run-2');
INSERT INTO "finetuning_examples" VALUES(3,0,0,0,X'3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3',1,'run-2');
INSERT INTO "finetuning_examples" VALUES(3,0,10,0,X'8B5B9DB0C13DB24256C829AA364AA90C6D2EBA318B9232A4AB9313B954D3555F',0,'run-2');
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
INSERT INTO "generations" VALUES(1,0,200,X'3F5C5FAA62F18227680E406AB847E26E','first_seen','2026-11-28T08:03:22.456598+00:00',X'');
INSERT INTO "generations" VALUES(2,0,30,X'04F0172F81EBDE5C164F6A278AD5C356','first_seen','2026-11-28T08:03:22.487287+00:00',X'');
INSERT INTO "generations" VALUES(3,0,20,X'6F2E4DD3FA47C55A420A4A9AE2490D6F','first_seen','2026-11-28T08:03:22.505102+00:00',X'');
CREATE TABLE index_changes (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	content_hash BLOB NOT NULL
);
INSERT INTO "index_changes" VALUES(1,X'0101010101010101010101010101010101010101010101010101010101010101');
CREATE TABLE index_identity (
	id INTEGER NOT NULL, 
	target TEXT NOT NULL, 
	index_id TEXT NOT NULL, 
	vectors TEXT NOT NULL, 
	built_at TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "index_identity" VALUES(1,'somewhere/index','0123456789abcdef','bm25','2026-11-28T08:03:22.883630+00:00');
CREATE TABLE learning_pipeline_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT learning_pipeline_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "learning_pipeline_version" VALUES('0003');
CREATE TABLE measurements (
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	ordinal INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	backend TEXT, 
	task_type TEXT, 
	event_timestamp TEXT, 
	success BOOLEAN, 
	iterations BIGINT, 
	latency_ms FLOAT, 
	resolution_seconds FLOAT, 
	tokens_in BIGINT, 
	tokens_out BIGINT, 
	PRIMARY KEY (partition_id, generation, "offset", ordinal)
);
INSERT INTO "measurements" VALUES(1,0,20,0,'task_completed','m','refactor','2026-01-01T00:00:00.000000Z',1,2,12.5,NULL,10,20);
CREATE TABLE partitions (
	id INTEGER NOT NULL, 
	partition_key TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (partition_key)
);
INSERT INTO "partitions" VALUES(1,'agents/a.jsonl');
INSERT INTO "partitions" VALUES(2,'b.jsonl');
INSERT INTO "partitions" VALUES(3,'c.jsonl');
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
INSERT INTO "patterns" VALUES(2,0,0,0,'task_completed','one','a response',1,NULL,NULL,'{}',NULL,1,X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED');
INSERT INTO "patterns" VALUES(2,0,10,0,'task_completed','two','a response',1,NULL,NULL,'{}',NULL,1,X'3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3');
INSERT INTO "patterns" VALUES(2,0,20,0,'task_completed','one','a response',1,NULL,NULL,'{}',NULL,1,X'7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED');
INSERT INTO "patterns" VALUES(3,0,0,0,'task_completed','two','a response',1,NULL,NULL,'{}',NULL,1,X'3FC4CCFE745870E2C0D99F71F30FF0656C8DEDD41CC1D7D3D376B0DBE685E2F3');
INSERT INTO "patterns" VALUES(3,0,10,0,'task_completed','three','a response',1,NULL,NULL,'{}',NULL,1,X'8B5B9DB0C13DB24256C829AA364AA90C6D2EBA318B9232A4AB9313B954D3555F');
CREATE TABLE proposals (
	proposal_id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	decision TEXT, 
	note TEXT, 
	decided_at TEXT, 
	posted_to TEXT, 
	posted_at TEXT, 
	PRIMARY KEY (proposal_id)
);
INSERT INTO "proposals" VALUES('abc','iteration_limit','refactor','rejected','no','2026-01-01T00:00:00.000000+00:00',NULL,NULL);
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
CREATE TABLE signals (
	partition_id INTEGER NOT NULL, 
	generation INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	ordinal INTEGER NOT NULL, 
	signal TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	observed FLOAT, 
	threshold FLOAT, 
	event_timestamp TEXT, 
	PRIMARY KEY (partition_id, generation, "offset", ordinal)
);
INSERT INTO "signals" VALUES(1,0,20,0,'iteration_limit','refactor',5.0,5.0,NULL);
CREATE TABLE stages (
	stage TEXT NOT NULL, 
	table_name TEXT NOT NULL, upstream TEXT, 
	PRIMARY KEY (stage)
);
INSERT INTO "stages" VALUES('interaction_patterns','patterns',NULL);
INSERT INTO "stages" VALUES('finetuning_examples','finetuning_examples','interaction_patterns');
INSERT INTO "stages" VALUES('pattern_index','','finetuning_examples');
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
CREATE INDEX checkpoints_by_run ON checkpoints (run_id);
CREATE UNIQUE INDEX one_example_per_content ON finetuning_examples (content_hash) WHERE is_duplicate = 0;
CREATE INDEX duplicate_examples ON finetuning_examples (content_hash) WHERE is_duplicate = 1;
CREATE INDEX custom_metrics_by_name ON custom_metrics (name, recorded_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('index_changes',1);
COMMIT;
