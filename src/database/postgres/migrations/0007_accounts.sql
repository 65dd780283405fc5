CREATE TABLE "latchkey"."codes" (
	"hash" text COLLATE "C" PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"user_id" bigint,
	"data" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "disabled_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "latchkey"."users" ADD COLUMN "email_verified_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "latchkey"."codes" ADD CONSTRAINT "codes_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "latchkey"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "codes_user_id_index" ON "latchkey"."codes" USING btree ("user_id","kind");--> statement-breakpoint
CREATE INDEX "codes_kind_index" ON "latchkey"."codes" USING btree ("kind","created_at");--> statement-breakpoint
CREATE INDEX "codes_expires_at_index" ON "latchkey"."codes" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "users_disabled_index" ON "latchkey"."users" USING btree ("username_key") WHERE disabled_at is not null;