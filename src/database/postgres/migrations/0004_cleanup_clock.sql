CREATE TABLE "latchkey"."cleanup_clock" (
	"id" bigint PRIMARY KEY NOT NULL,
	"trusted_at" timestamp (3) with time zone NOT NULL,
	"doubted_since" timestamp (3) with time zone
);
