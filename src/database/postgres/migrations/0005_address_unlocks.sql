CREATE TABLE "latchkey"."address_unlocks" (
	"network" text COLLATE "C" PRIMARY KEY NOT NULL,
	"unlocked_at" timestamp (3) with time zone NOT NULL
);
