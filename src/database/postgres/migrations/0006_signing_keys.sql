CREATE TABLE "latchkey"."signing_keys" (
	"id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"last_used_at" timestamp (3) with time zone NOT NULL
);
